package dashboards

import (
	"fmt"
	"math"
	"strconv"
	"testing"
	"time"
)

// shown returns a value as people read it in a unit of Grafana's.
func shown(v float64, unit string) string {
	switch {
	case math.IsNaN(v):
		return ""
	case unit == "dateTimeAsIso":
		return time.UnixMilli(int64(v)).UTC().Format("2006-01-02 15:04:05")
	case unit == "percentunit":
		return digits(v*100) + " %"
	case unit == "s":
		return duration(v)
	case unit == "bytes":
		return scaled(v, 1024, "B", "KiB", "MiB", "GiB")
	case unit == "Bps":
		return scaled(v, 1000, "B/s", "kB/s", "MB/s", "GB/s")
	}
	suffix := map[string]string{"none": "", "ops": "/s", "eps": " ev/s", "mps": " msg/s", "reqps": " req/s"}[unit]
	return scaled(v, 1000, suffix, "k"+suffix, "M"+suffix, "G"+suffix)
}

// duration is a time in the largest unit of which it has one.
func duration(v float64) string {
	for _, u := range []struct {
		name string
		size float64
	}{{"d", 86400}, {"h", 3600}, {"min", 60}, {"s", 1}} {
		if math.Abs(v) >= u.size {
			return digits(v/u.size) + " " + u.name
		}
	}
	if v == 0 {
		return "0 s"
	}
	return digits(v*1000) + " ms"
}

func scaled(v, by float64, names ...string) string {
	n := 0
	for ; math.Abs(v) >= by && n < len(names)-1; n++ {
		v /= by
	}
	name := names[n]
	if name != "" && name[0] != ' ' && name[0] != '/' {
		name = " " + name
	}
	return digits(v) + name
}

// digits writes three of them, without zeros at the end.
func digits(v float64) string {
	if math.Abs(v) >= 100 {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	text, err := strconv.ParseFloat(fmt.Sprintf("%.3g", v), 64)
	if err != nil {
		return fmt.Sprint(v)
	}
	return strconv.FormatFloat(text, 'f', -1, 64)
}

// ticks returns round values from 0 to at least most.
func ticks(most float64, unit string, whole bool) (at []float64) {
	if most <= 0 {
		most = 1
	}
	rounds := []float64{1, 2, 5, 10}
	base := math.Pow(10, math.Floor(math.Log10(most/3)))
	if unit == "bytes" {
		base, rounds = math.Pow(1024, math.Floor(math.Log(most/3)/math.Log(1024))), []float64{1, 2, 5, 10, 20, 50, 100, 200, 500, 1000}
	}
	if unit == "s" && most > 60 {
		base, rounds = 30, []float64{1, 2, 4, 10, 20, 30, 60, 120, 240, 360, 720, 1440, 2880, 5760}
		if most > 90*86400 {
			base, rounds = 86400, []float64{10, 30, 60, 90, 180, 360}
		}
	}
	step := base * rounds[len(rounds)-1]
	for _, r := range rounds {
		if most/(base*r) <= 4 {
			step = base * r
			break
		}
	}
	if unit == "none" && whole {
		step = math.Max(1, step)
	}
	for v := 0.0; ; v += step {
		at = append(at, v)
		if v >= most {
			return at
		}
	}
}

func TestShown(t *testing.T) {
	for _, row := range []struct {
		value      float64
		unit, want string
	}{
		{0, "none", "0"}, {1234, "none", "1.23 k"}, {0.5, "percentunit", "50 %"}, {5400, "s", "1.5 h"}, {0.0123, "s", "12.3 ms"}, {0, "s", "0 s"},
		{200 << 20, "bytes", "200 MiB"}, {1.5e6, "Bps", "1.5 MB/s"}, {12, "ops", "12/s"}, {1784883731000, "dateTimeAsIso", "2026-07-24 09:02:11"},
	} {
		if got := shown(row.value, row.unit); got != row.want {
			t.Errorf("%v %s: %q, want %q", row.value, row.unit, got, row.want)
		}
	}
	for _, most := range []float64{0, 0.003, 1, 7, 999, 200000} {
		if at := ticks(most, "s", false); len(at) < 2 || len(at) > 7 || at[len(at)-1] < most {
			t.Errorf("ticks up to %v: %v", most, at)
		}
	}
}
