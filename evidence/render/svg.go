package render

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"telltale/evidence"
	"telltale/querylog"
	"telltale/sorting"
)

// Charts are as wide as the page: positions from left to right are percentages, those
// from top to bottom and letters are pixels, so that letters have one size on every
// screen.

// chart begins a chart, with what it shows for who cannot see it.
func (p *page) chart(height int, label string) {
	p.f("<svg class=\"chart\" width=\"100%%\" height=\"%d\" role=\"img\" aria-label=\"%s\">\n", height, label)
}

func (p *page) endChart() { p.f("</svg>\n") }

func pct(part, of float64) string {
	if of == 0 {
		return "0%"
	}
	return fmt.Sprintf("%.3f%%", 100*part/of)
}

// chartVendors is how many vendors the chart has; the table behind has all.
const chartVendors = 15

func (p *page) vendorChart() {
	r := p.r
	shown := r.Vendors[:min(len(r.Vendors), chartVendors)]
	most := float64(shown[0].Counts.In(r.Unit))
	label := fmt.Sprintf("Bars of %d vendors by %s; the largest is %s with %s. The table behind has the numbers.", len(shown), r.Unit, shown[0].Vendor, evidence.Number(shown[0].Counts.In(r.Unit)))
	p.chart(len(shown)*38, label)
	for i := range shown {
		v := &shown[i]
		n, blocked, y := float64(v.Counts.In(r.Unit)), float64(v.Counts.Blocked.In(r.Unit)), i*38
		text := evidence.Number(v.Counts.In(r.Unit))
		if c := change(r, v.Trend); c != "" && c != "-" && c != "none before" {
			text += " (" + c + ")"
		}
		p.f("<text x=\"0\" y=\"%d\">%s</text><text x=\"100%%\" y=\"%d\" text-anchor=\"end\">%s</text>\n", y+14, cut(v.Vendor, 24), y+14, text)
		p.f("<rect class=\"rest\" x=\"0\" y=\"%d\" width=\"%s\" height=\"12\"/><rect class=\"full\" x=\"0\" y=\"%d\" width=\"%s\" height=\"12\"/>\n", y+19, pct(n, most), y+19, pct(blocked, most))
	}
	p.endChart()
	if more := len(r.Vendors) - len(shown); more > 0 {
		p.f("<p>And %s, in the table.</p>\n", evidence.Plural(uint64(more), "more vendor"))
	}
}

const (
	weekLeft = 9.0 // percent of the width that days' names take
	weekRow  = 22
	weekTop  = 18
)

func (p *page) weekChart() {
	r := p.r
	values, of := weekRates(r)
	most := slices.Max(values)
	p.chart(weekTop+7*weekRow, "Hours of a week, darker for more; the busiest is "+busiest(r)+". The table behind has the numbers.")
	width := (100 - weekLeft) / 24
	for hour := 0; hour < 24; hour += 6 {
		p.f("<text class=\"small\" x=\"%.3f%%\" y=\"12\">%d:00</text>\n", weekLeft+width*float64(hour), hour)
	}
	for day, name := range weekdays {
		p.f("<text class=\"small\" x=\"0\" y=\"%d\">%s</text>\n", weekTop+day*weekRow+15, name)
		for hour := range 24 {
			x, y := weekLeft+width*float64(hour), weekTop+day*weekRow
			v := values[day*24+hour]
			class := "h0"
			switch {
			case of[day*24+hour] == nothing:
				class = "gap"
			case v > 0 && most > 0:
				class = fmt.Sprintf("h%d", 1+min(4, int(v/most*5)))
			}
			p.f("<rect class=\"%s\" x=\"%.3f%%\" y=\"%d\" width=\"%.3f%%\" height=\"%d\"/>", class, x, y, width, weekRow)
		}
		p.f("\n")
	}
	p.endChart()
}

func busiest(r *evidence.Report) string {
	best, most := 0, -1.0
	values, _ := weekRates(r)
	for i, v := range values {
		if v > most {
			best, most = i, v
		}
	}
	return fmt.Sprintf("%s %d:00 with %s an hour", weekdays[r.Hours[best].Weekday], r.Hours[best].Hour, rate(most))
}

const (
	lineTop    = 20  // where numbers of events stand
	lineHeight = 140 // of the bars
)

func (p *page) timelineChart() {
	r := p.r
	values, of := slotRates(r)
	most := slices.Max(values)
	p.chart(lineTop+lineHeight+22, fmt.Sprintf("Bars of %s an hour recorded, by %s, at most %s, with gaps and events. The table behind has the numbers.", r.Unit, r.Timeline.Step, rate(most)))
	since, length := r.Since.Time, r.Until.Sub(r.Since.Time).Seconds()
	x := func(t querylog.Time) float64 { return 100 * t.Sub(since).Seconds() / length }
	for i := range r.Timeline.Slots {
		s := &r.Timeline.Slots[i]
		left, width := x(s.Since), x(s.Until)-x(s.Since)
		if most == 0 || values[i] == 0 || of[i] != recorded {
			continue
		}
		h := math.Max(1, values[i]/most*lineHeight)
		blocked := h * float64(s.Blocked.OwnIn(r.Unit)) / math.Max(1, float64(s.OwnIn(r.Unit)))
		p.f("<rect class=\"rest\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" height=\"%.1f\"/>", left+width*0.08, lineTop+lineHeight-h, width*0.84, h)
		p.f("<rect class=\"full\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" height=\"%.1f\"/>\n", left+width*0.08, lineTop+lineHeight-blocked, width*0.84, blocked)
	}
	for i := range r.Coverage.Gaps {
		if g := &r.Coverage.Gaps[i]; g.Effect == querylog.Unrecorded || g.Effect == querylog.Incomplete {
			width := math.Max(0.6, x(g.Until)-x(g.Since))
			p.f("<rect class=\"gap\" x=\"%.3f%%\" y=\"%d\" width=\"%.3f%%\" height=\"%d\"/>\n", math.Min(x(g.Since), 100-width), lineTop, width, lineHeight)
		}
	}
	for i := range r.Timeline.Slots {
		if s := &r.Timeline.Slots[i]; of[i] == imported {
			p.importedBar(x(s.Since), x(s.Until)-x(s.Since), values[i]/most*lineHeight, float64(s.Blocked.In(r.Unit))/float64(s.In(r.Unit)))
		}
	}
	p.f("<line class=\"axis\" x1=\"0\" x2=\"100%%\" y1=\"%d\" y2=\"%d\"/>\n", lineTop+lineHeight, lineTop+lineHeight)
	p.eventNumbers(x)
	p.dates(x)
	p.endChart()
}

// importedBar draws the bar of a time in which nothing was recorded here, in the place of
// the hatching.
func (p *page) importedBar(left, width, height, blocked float64) {
	height = math.Max(1, height)
	p.f("<rect class=\"empty\" x=\"%.3f%%\" y=\"%d\" width=\"%.3f%%\" height=\"%d\"/>", left, lineTop, width, lineHeight)
	p.f("<rect class=\"rest other\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" height=\"%.1f\"/>", left+width*0.08, lineTop+lineHeight-height, width*0.84, height)
	p.f("<rect class=\"full\" x=\"%.3f%%\" y=\"%.1f\" width=\"%.3f%%\" height=\"%.1f\"/>\n", left+width*0.08, lineTop+lineHeight-height*blocked, width*0.84, height*blocked)
}

// eventNumbers writes the numbers of events at their times; those too close to one
// another stand together.
func (p *page) eventNumbers(x func(querylog.Time) float64) {
	all := p.r.Markers
	for i := 0; i < len(all); {
		at, last := x(all[i].Time), i
		for last+1 < len(all) && x(all[last+1].Time)-at < 9 {
			last++
		}
		text := fmt.Sprint(i + 1)
		if last > i {
			text = fmt.Sprintf("%d-%d", i+1, last+1)
		}
		anchor := "middle"
		if at < 4 {
			anchor = "start"
		} else if at > 96 {
			anchor = "end"
		}
		p.f("<text class=\"small\" x=\"%.3f%%\" y=\"12\" text-anchor=\"%s\">%s</text><line class=\"event\" x1=\"%.3f%%\" x2=\"%.3f%%\" y1=\"15\" y2=\"%d\"/>\n", at, anchor, text, at, at, lineTop+lineHeight)
		i = last + 1
	}
}

// dates writes up to five dates below the timeline, those that have room on a narrow screen.
func (p *page) dates(x func(querylog.Time) float64) {
	slots := p.r.Timeline.Slots
	layout, width, free := "2 Jan", 12.0, 0.0 // percent of a screen of 360 pixels
	if p.r.Timeline.Step == "hour" {
		layout, width = "Mon 15:04", 17
	}
	for i := range 4 {
		s := slots[i*(len(slots)-1)/4]
		if x(s.Since) < free || x(s.Since) > 100-2*width {
			continue
		}
		free = x(s.Since) + width
		p.f("<text class=\"small\" x=\"%.3f%%\" y=\"%d\">%s</text>\n", x(s.Since), lineTop+lineHeight+16, s.Since.In(p.r.Location).Format(layout))
	}
	p.f("<text class=\"small\" x=\"100%%\" y=\"%d\" text-anchor=\"end\">%s</text>\n", lineTop+lineHeight+16, p.r.Until.Add(-time.Second).In(p.r.Location).Format(layout))
}

// flowNodes is how many devices, vendors and purposes the chart of flows keeps apart.
const flowNodes = 8

const others = "others"

func flowName(s string) string    { return cmp.Or(s, others) }
func flowPurpose(s string) string { return cmp.Or(s, "purpose not said") }

// A flowNode is a device, a vendor or a purpose, at its height in the chart.
type flowNode struct {
	name    string
	n       float64
	top     float64 // percent
	in, out float64 // how much of it is drawn
}

// flowChart draws ribbons from devices to vendors, and from vendors to purposes, as
// thick as what they stand for.
func (p *page) flowChart() {
	r := p.r
	var columns [3]map[string]*flowNode
	var order [3][]*flowNode
	total := 0.0
	for c := range columns {
		columns[c] = map[string]*flowNode{}
	}
	of := func(f *evidence.Flow) [3]string {
		return [3]string{flowName(f.Device), flowName(f.Vendor), flowPurpose(f.Purpose)}
	}
	node := func(c int, name string) *flowNode {
		if n := columns[c][name]; n != nil {
			return n
		}
		if len(order[c]) >= flowNodes {
			name = others
			if n := columns[c][name]; n != nil {
				return n
			}
		}
		n := &flowNode{name: name}
		columns[c][name] = n
		order[c] = append(order[c], n)
		return n
	}
	for i := range r.Flows {
		f := &r.Flows[i]
		n := float64(f.In(r.Unit))
		total += n
		for c, name := range of(f) {
			node(c, name).n += n
		}
	}
	if total == 0 {
		return
	}
	most := 0
	for c := range order {
		most = max(most, len(order[c]))
	}
	const gap = 3.0 // percent between two nodes
	scale := (100 - gap*float64(most)) / total
	for c := range order {
		sorting.StableBy(order[c], func(a, b *flowNode) int { return cmp.Compare(b.n, a.n) })
		top := 0.0
		for _, n := range order[c] {
			n.top = top
			top += n.n*scale + gap
		}
	}
	height := 60 + most*42
	p.chart(height, fmt.Sprintf("Ribbons from %s to %s and %s. The table behind has the numbers.",
		evidence.Plural(uint64(len(order[0])), "device"), evidence.Plural(uint64(len(order[1])), "vendor"), evidence.Plural(uint64(len(order[2])), "purpose")))
	p.f("<svg x=\"0\" y=\"0\" width=\"100%%\" height=\"100%%\" viewBox=\"0 0 100 100\" preserveAspectRatio=\"none\">\n")
	for step := range 2 {
		ribbons := map[[2]*flowNode]float64{}
		for i := range r.Flows {
			names := of(&r.Flows[i])
			ribbons[[2]*flowNode{node(step, names[step]), node(step+1, names[step+1])}] += float64(r.Flows[i].In(r.Unit))
		}
		left, right := float64(step)*49+1.5, float64(step)*49+49.5
		middle := (left + right) / 2
		for _, a := range order[step] {
			for _, b := range order[step+1] {
				n := ribbons[[2]*flowNode{a, b}] * scale
				if n == 0 {
					continue
				}
				y1, y2 := a.top+a.out, b.top+b.in
				a.out, b.in = a.out+n, b.in+n
				p.f("<path class=\"ribbon\" d=\"M%.2f %.2fC%.2f %.2f %.2f %.2f %.2f %.2fL%.2f %.2fC%.2f %.2f %.2f %.2f %.2f %.2fZ\"/>\n",
					left, y1, middle, y1, middle, y2, right, y2, right, y2+n, middle, y2+n, middle, y1+n, left, y1+n)
			}
		}
	}
	for c := range order {
		for _, n := range order[c] {
			p.f("<rect class=\"full\" x=\"%.2f\" y=\"%.2f\" width=\"1.5\" height=\"%.2f\"/>\n", float64(c)*49, n.top, math.Max(0.4, n.n*scale))
		}
	}
	p.f("</svg>\n")
	for c := range order {
		anchor, x := [...]string{"start", "middle", "end"}[c], [...]string{"2.5%", "50%", "97.5%"}[c]
		for _, n := range order[c] {
			p.f("<text class=\"small halo\" x=\"%s\" y=\"%.2f%%\" dy=\"4\" text-anchor=\"%s\">%s %s</text>\n", x, n.top+math.Max(n.n*scale, 2)/2, anchor, cut(n.name, 14), evidence.Number(uint64(n.n)))
		}
	}
	p.endChart()
}

// style is the page's. Colours of text have a contrast of 4.5 and more with what is
// behind them, those of shapes 3 and more, light and dark.
const style = `
:root{--bg:#fff;--fg:#1a1a1a;--soft:#555;--line:#8a8a8a;--full:#1f5fa8;--rest:#dce8f5;--hatch:#b3541e;--link:#174a85}
@media (prefers-color-scheme:dark){:root{--bg:#14171a;--fg:#ececec;--soft:#b4b4b4;--line:#7d8790;--full:#7fb5f0;--rest:#22344a;--hatch:#f0a36b;--link:#9cc7f7}}
@page{size:A4;margin:16mm}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:78rem;background:var(--bg);color:var(--fg);font:1rem/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
.defs{position:absolute}
h1{font-size:1.6rem;line-height:1.25;margin:.5rem 0}
h2{font-size:1.25rem;margin:2rem 0 .5rem;border-bottom:2px solid var(--line)}
h3{font-size:1.05rem;margin:1rem 0 .25rem}
p,ul,dl{margin:.5rem 0;max-width:62rem}
dl{display:grid;grid-template-columns:minmax(7rem,11rem) 1fr;gap:.25rem 1rem}
dt{font-weight:600}dd{margin:0}
footer,caption,.small{color:var(--soft)}
a{color:var(--link)}
a:focus-visible,summary:focus-visible,.scroll:focus-visible{outline:3px solid var(--full);outline-offset:2px}
details{margin:.5rem 0}summary{cursor:pointer}
.vendor{border-left:4px solid var(--line);padding-left:.75rem;margin:1rem 0}
.vendor summary h3{display:inline}
.scroll{overflow-x:auto;margin:.5rem 0}
table{border-collapse:collapse;font-size:.875rem;font-variant-numeric:tabular-nums}
caption{text-align:left;padding:.25rem 0}
th,td{text-align:left;vertical-align:top;padding:.25rem .5rem .25rem 0;border-bottom:1px solid var(--line);overflow-wrap:normal;min-width:3rem}
td:not(.n){min-width:8rem}
td,tbody th{unicode-bidi:isolate}
tbody th{font-weight:600;min-width:9rem;max-width:22rem;overflow-wrap:anywhere}
.n{text-align:right}
.sources{font-size:.875rem}
.chart{display:block;margin:.5rem 0;overflow:visible}
.chart text{fill:var(--fg);font-size:14px}.chart .small{font-size:12px}
.halo{paint-order:stroke;stroke:var(--bg);stroke-width:4px;stroke-linejoin:round}
.full{fill:var(--full)}.rest{fill:var(--rest);stroke:var(--full);stroke-width:1px}.other{stroke-dasharray:3 2}.empty{fill:var(--bg)}
.hatch{fill:var(--hatch)}.gap{fill:url(#gap);stroke:var(--hatch);stroke-width:1px}
.axis{stroke:var(--fg)}.event{stroke:var(--fg);stroke-dasharray:2 3}
.ribbon{fill:var(--full);fill-opacity:.35}
.h0,.h1,.h2,.h3,.h4,.h5{stroke:var(--line);stroke-width:.5px;fill:var(--full)}
.h0{fill-opacity:0}.h1{fill-opacity:.2}.h2{fill-opacity:.4}.h3{fill-opacity:.6}.h4{fill-opacity:.8}
@media (max-width:30rem){dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}body{padding:.75rem}}
@media (min-width:60rem){tbody th{min-width:13rem}}
@media print{
:root{--bg:#fff;--fg:#000;--soft:#333;--line:#777;--full:#000;--rest:#ddd;--hatch:#555;--link:#000}
body{max-width:none;padding:0;font-size:10pt;-webkit-print-color-adjust:exact;print-color-adjust:exact}
table{font-size:7.5pt;width:100%}.scroll{overflow:visible}th,td{padding-right:.4rem;min-width:0;overflow-wrap:anywhere}td:not(.n){min-width:0}tbody th{min-width:5.5rem}thead th{overflow-wrap:normal}
h2,h3,summary,h2+p,caption,thead{break-after:avoid}tr,.chart,h2+p{break-inside:avoid}
details:not([open]){display:none}summary{list-style:none}}
`
