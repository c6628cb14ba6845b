// Makes src/lib/outline.json, the map behind the page of destinations: the outline of all land and a
// point for each country, of Natural Earth's data (public domain) as the package world-atlas 2.0.2 has it:
//   node outline.mjs DIR >src/lib/outline.json     DIR: the unpacked package
import { readFileSync } from 'node:fs';

const read = (name) => JSON.parse(readFileSync(`${process.argv[2]}/${name}.json`, 'utf8'));
const width = 720, most = 6200; // units; octets of the outline
const south = -57, north = 79; // nobody's address is beyond: Antarctica is left out

// The projection Natural Earth, of Tom Patterson (public domain): its polynomial.
function projected([lon, lat]) {
  const l = (lon * Math.PI) / 180, p = (lat * Math.PI) / 180, p2 = p * p, p4 = p2 * p2;
  const x = l * (0.8707 - 0.131979 * p2 + p4 * (-0.013791 + p4 * (0.003971 * p2 - 0.001529 * p4)));
  const y = p * (1.007226 + p2 * (0.015085 + p4 * (-0.044475 + 0.028874 * p2 - 0.005916 * p4)));
  return [x, y];
}
const scale = width / (2 * projected([180, 0])[0]), top = projected([0, 84])[1] * scale;
const place = (at) => { const [x, y] = projected(at); return [width / 2 + x * scale, top - y * scale]; };

// Arcs of TopoJSON to rings of degrees.
function ringsOf(topology, geometry) {
  const { scale: [sx, sy], translate: [tx, ty] } = topology.transform;
  const arc = (i) => {
    let x = 0, y = 0;
    const line = topology.arcs[i < 0 ? ~i : i].map(([dx, dy]) => [(x += dx) * sx + tx, (y += dy) * sy + ty]);
    return i < 0 ? line.reverse() : line;
  };
  // A ring that passes 180 degrees goes on beyond it: a jump to the other side would be a line across the map.
  const ring = (arcs) => {
    const r = arcs.flatMap((i, k) => arc(i).slice(k ? 1 : 0));
    for (let i = 1; i < r.length; i++) r[i] = [r[i][0] - 360 * Math.round((r[i][0] - r[i - 1][0]) / 360), r[i][1]];
    const far = r.some(([lon]) => lon < -190) ? 360 : 0;
    return far ? r.map(([lon, lat]) => [lon + far, lat]) : r;
  };
  const polygons = geometry.type === 'GeometryCollection' ? geometry.geometries.flatMap((g) => (g.type === 'Polygon' ? [g.arcs] : g.arcs)) : geometry.type === 'Polygon' ? [geometry.arcs] : geometry.arcs ?? [];
  return polygons.map((p) => ring(p[0]));
}
const twice = (r) => r.reduce((sum, [x, y], i) => { const [u, v] = r[(i + 1) % r.length]; return sum + x * v - u * y; }, 0);
function centre(r) {
  const a = twice(r);
  let x = 0, y = 0;
  r.forEach(([px, py], i) => { const [qx, qy] = r[(i + 1) % r.length], c = px * qy - qx * py; x += (px + qx) * c; y += (py + qy) * c; });
  return a ? [x / (3 * a), y / (3 * a)] : r[0];
}

// Points that change the area least go first (Visvalingam), until the outline is small enough.
function simplified(ring, area) {
  const r = ring.slice(0, -1);
  for (;;) {
    let least = Infinity, at = -1;
    r.forEach((b, i) => {
      const a = r[(i + r.length - 1) % r.length], c = r[(i + 1) % r.length];
      const s = Math.abs((b[0] - a[0]) * (c[1] - a[1]) - (c[0] - a[0]) * (b[1] - a[1])) / 2;
      if (s < least) { least = s; at = i; }
    });
    if (least >= area || r.length < 4) return r;
    r.splice(at, 1);
  }
}
function outline(rings, area) {
  let d = '';
  for (const ring of rings) {
    const r = simplified(ring, area).map(([x, y]) => [Math.round(x), Math.round(y)]);
    if (r.length < 3 || Math.abs(twice(r)) < 4) continue;
    let [x, y] = r[0];
    d += `M${x} ${y}l`;
    d += r.slice(1).map(([u, v]) => { const s = `${u - x} ${v - y}`; x = u; y = v; return s; }).join(' ').replace(/ -/g, '-') + 'z';
  }
  return d;
}

const land = read('land-110m'), rings = ringsOf(land, land.objects.land).filter((r) => r.some(([, lat]) => lat > south)).map((r) => r.map(place));
let d = '';
for (let area = 0.2; ; area += 0.2) if ((d = outline(rings, area)).length <= most) break;

const countries = read('countries-50m'), points = {};
for (const g of countries.objects.countries.geometries) {
  // Numbers of ISO 3166-1 are other names of its codes to whoever has CLDR's data.
  const code = g.properties.name === 'Kosovo' ? 'XK' : g.id && Intl.getCanonicalLocales(`und-${g.id.padStart(3, '0')}`)[0].split('-')[1];
  if (!code || !/^[A-Z]{2}$/.test(code)) continue;
  const largest = ringsOf(countries, g).sort((a, b) => Math.abs(twice(b)) - Math.abs(twice(a)))[0];
  const [x, y] = place(centre(largest)).map(Math.round);
  if (code !== 'AQ' && !points[code]) points[code] = [x, y];
}
const bottom = Math.ceil(place([0, south])[1]), head = Math.floor(place([0, north + 5])[1]);
process.stdout.write(JSON.stringify({ width, height: bottom - head, land: d, points: Object.fromEntries(Object.entries(points).sort()) }) + '\n');
