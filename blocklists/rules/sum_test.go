package rules

import (
	"reflect"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"telltale/blocklists/format"
)

// A set in memory is another one as soon as anything that it says of a name is
// another.
func TestEveryFieldOfAnAnnotationIsInTheSum(t *testing.T) {
	sum := func(a format.Annotation) uint64 {
		s := Set{Meta: Meta{Annotations: []*format.Annotation{&a}}}
		d := xxhash.New()
		if err := s.addTail(d); err != nil {
			t.Fatal(err)
		}
		return d.Sum64()
	}
	seen := map[uint64]string{sum(format.Annotation{}): "none"}
	fields := reflect.TypeFor[format.Annotation]()
	for i := range fields.NumField() {
		var a format.Annotation
		switch f := reflect.ValueOf(&a).Elem().Field(i); f.Kind() {
		case reflect.String:
			f.SetString("x")
		default:
			f.Set(reflect.ValueOf(time.Unix(1, 0)))
		}
		name := fields.Field(i).Name
		if same, ok := seen[sum(a)]; ok {
			t.Errorf("%s: the sum is that of %s", name, same)
		}
		seen[sum(a)] = name
	}
}
