package dashboards

import (
	"bytes"
	"flag"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Pictures for the README, from a recorded run of the worker on the feed that
// takes four minutes. They need chromium:
//
//	go test ./test/dashboards -run Queries -timeout 20m -images ../../docs/images
var images = flag.String("images", "", "record a longer run and write pictures of the dashboards to this folder")

// record plays the longer run and writes the pictures.
func record(t *testing.T, folder string) {
	s := play(t, scene{step: time.Second, rate: 15 * time.Second}, false, 48, 5*time.Second)
	s.testPanels(t)
	for _, p := range pages(t) {
		svg, width, height := s.draw(t, p)
		name := filepath.Join(folder, strings.TrimSuffix(p.File, ".json")+".png")
		if err := photograph(t, svg, width, height, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// testDrawing draws the pages of the short run: each panel has something to
// show.
func (s *scene) testDrawing(t *testing.T) {
	for _, p := range pages(t) {
		svg, _, _ := s.draw(t, p)
		if err := os.WriteFile(filepath.Join(t.TempDir(), p.File+".svg"), []byte(svg), 0o600); err != nil {
			t.Fatal(err)
		}
		parts := strings.Split(svg, `class="panel"/>`)[1:]
		shown := 0
		p.each(func(one panel) {
			part := parts[shown]
			if !strings.Contains(part, one.Title) {
				t.Fatalf("%s is not where it should be", one.Title)
			}
			if strings.Contains(part, "no data") || !strings.Contains(part, "<path") && !strings.Contains(part, "<rect") {
				t.Errorf("%s, %s: nothing is drawn", p.File, one.Title)
			}
			shown++
		})
		if shown != len(parts) {
			t.Errorf("%s: %d panels, %d drawn", p.File, shown, len(parts))
		}
	}
}

// photograph writes a picture as PNG.
func photograph(t *testing.T, svg string, width, height int, name string) error {
	t.Helper()
	dir := t.TempDir()
	pageName, raw := filepath.Join(dir, "page.html"), filepath.Join(dir, "raw.png")
	if err := os.WriteFile(pageName, []byte(`<!DOCTYPE html><body style="margin:0">`+svg), 0o600); err != nil {
		return err
	}
	cmd := exec.CommandContext(t.Context(), "chromium", "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
		"--user-data-dir="+dir, fmt.Sprintf("--window-size=%d,%d", width, height), "--screenshot="+raw, "file://"+pageName)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("chromium: %w\n%s", err, out)
	}
	b, err := os.ReadFile(raw)
	if err != nil {
		return err
	}
	full, err := png.Decode(bytes.NewReader(b))
	if err != nil {
		return err
	}
	var small bytes.Buffer
	if err := (&png.Encoder{CompressionLevel: png.BestCompression}).Encode(&small, reduced(full)); err != nil {
		return err
	}
	const most = 150 << 10
	if small.Len() > most {
		return fmt.Errorf("%d bytes, more than %d", small.Len(), most)
	}
	return os.WriteFile(name, small.Bytes(), 0o644)
}

// drawn are the colors of lines and areas: some are rare.
func drawn() (all []color.RGBA) {
	for _, name := range slices.Concat(colors, slices.Collect(maps.Values(habits)), slices.Collect(maps.Values(named))) {
		for _, c := range []string{name, mixed(name)} {
			n, err := strconv.ParseUint(c[1:], 16, 32)
			if err != nil {
				panic(err)
			}
			all = append(all, color.RGBA{uint8(n >> 16), uint8(n >> 8), uint8(n), 255})
		}
	}
	return all
}

// reduced keeps a picture's most frequent colors, as many as a palette holds,
// and takes the nearest of them for the others: those of smoothed edges.
func reduced(full image.Image) image.Image {
	counts := map[color.RGBA]int{}
	at := func(x, y int) color.RGBA { return color.RGBAModel.Convert(full.At(x, y)).(color.RGBA) }
	bounds := full.Bounds()
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			counts[at(x, y)]++
		}
	}
	var all []color.RGBA
	for c := range counts {
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b color.RGBA) int { return counts[b] - counts[a] })
	var palette color.Palette
	for _, c := range drawn() {
		palette = append(palette, c)
	}
	for _, c := range all[:min(len(all), 96)] {
		palette = append(palette, c)
	}
	small, nearest := image.NewPaletted(bounds, palette), map[color.RGBA]uint8{}
	for y := bounds.Min.Y; y < bounds.Max.Y; y++ {
		for x := bounds.Min.X; x < bounds.Max.X; x++ {
			c := at(x, y)
			i, known := nearest[c]
			if !known {
				i = uint8(palette.Index(c))
				nearest[c] = i
			}
			small.SetColorIndex(x, y, i)
		}
	}
	return small
}
