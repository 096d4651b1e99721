package main

import (
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
	"go.yaml.in/yaml/v3"
)

// commands is the command line: the settings and the commands.
type commands struct {
	Settings config        `embed:""`
	Run      struct{}      `cmd:"" default:"1"`
	Check    struct{}      `cmd:"" name:"check"`
	Chains   chainsCommand `cmd:""`
	Replay   replayCommand `cmd:""`
	Health   struct{}      `cmd:"" name:"health"`
	Show     struct{}      `cmd:"" name:"config"`
	Ver      struct{}      `cmd:"" name:"version"`
}

// parse reads the settings: flags before environment before file.
func parse(args []string) (c *commands, k *kong.Kong, command string, err error) {
	c = &commands{}
	options := []kong.Option{
		kong.Name("ingest"), kong.NoDefaultHelp(), kong.Writers(io.Discard, io.Discard),
		kong.Exit(func(int) {}), kong.DefaultEnvars("TRAILSEAL"),
	}
	if k, err = kong.New(c, options...); err != nil {
		return nil, nil, "", err
	}
	known := map[string]bool{}
	for _, f := range k.Model.Flags {
		known[f.Name] = f.Name != "config"
	}
	if name := configFile(args); name != "" {
		file, err := readYAML(name, known)
		if err != nil {
			return nil, nil, "", fmt.Errorf("settings: %w", err)
		}
		if k, err = kong.New(c, append(options, kong.Resolvers(file))...); err != nil {
			return nil, nil, "", err
		}
	}
	parsed, err := k.Parse(args)
	if err != nil {
		return nil, nil, "", err
	}
	return c, k, parsed.Command(), nil
}

// configFile finds --config before the rest is parsed.
func configFile(args []string) string {
	for i, a := range args {
		if v, ok := strings.CutPrefix(a, "--config="); ok {
			return v
		}
		if a == "--config" && i+1 < len(args) {
			return args[i+1]
		}
	}
	return os.Getenv("TRAILSEAL_CONFIG")
}

// yamlFile is a settings file. It resolves flags that are set neither on the
// command line nor in the environment.
type yamlFile struct {
	name string
	keys map[string]*yaml.Node
}

// readYAML reads a settings file. Every key must be a setting's name; errors
// name the file and the line.
func readYAML(name string, known map[string]bool) (*yamlFile, error) {
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	f := &yamlFile{name: name, keys: map[string]*yaml.Node{}}
	var doc yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if len(doc.Content) == 0 {
		return f, nil // empty
	}
	top := doc.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("%s:%d: not a list of settings", name, top.Line)
	}
	for i := 0; i+1 < len(top.Content); i += 2 {
		key, value := top.Content[i], top.Content[i+1]
		setting := strings.ReplaceAll(key.Value, "_", "-")
		if !known[setting] {
			return nil, fmt.Errorf("%s:%d: no setting is named %q", name, key.Line, key.Value)
		}
		if f.keys[setting] != nil {
			return nil, fmt.Errorf("%s:%d: %q is set twice", name, key.Line, key.Value)
		}
		f.keys[setting] = value
	}
	return f, nil
}

// Validate implements kong.Resolver.
func (f *yamlFile) Validate(*kong.Application) error { return nil }

// Resolve implements kong.Resolver. The environment goes before the file.
func (f *yamlFile) Resolve(_ *kong.Context, _ *kong.Path, flag *kong.Flag) (any, error) {
	node := f.keys[flag.Name]
	if node == nil || slices.ContainsFunc(flag.Envs, func(e string) bool { _, set := os.LookupEnv(e); return set }) {
		return nil, nil
	}
	if flag.Target.Kind() == reflect.Slice {
		var list []string
		if err := node.Decode(&list); err != nil {
			return nil, fmt.Errorf("%s:%d: %s: not a list of texts", f.name, node.Line, flag.Name)
		}
		values := make([]any, len(list)) // the only list that kong takes whole
		for i, v := range list {
			values[i] = v
		}
		return values, nil
	}
	if node.Kind != yaml.ScalarNode {
		return nil, fmt.Errorf("%s:%d: %s: not a single value", f.name, node.Line, flag.Name)
	}
	return node.Value, nil
}

// writeYAML writes the settings in the form that readYAML reads, without
// secrets.
func writeYAML(w io.Writer, flags []*kong.Flag) error {
	var top yaml.Node
	top.Kind = yaml.MappingNode
	for _, f := range flags {
		if f.Name == "config" {
			continue
		}
		var value yaml.Node
		if err := value.Encode(plain(f)); err != nil {
			return fmt.Errorf("write %s: %w", f.Name, err)
		}
		key := yaml.Node{Kind: yaml.ScalarNode, Value: f.Name, HeadComment: f.Help}
		top.Content = append(top.Content, &key, &value)
	}
	e := yaml.NewEncoder(w)
	e.SetIndent(2)
	if err := e.Encode(&top); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	return e.Close()
}

// plain returns a setting's value as YAML's own types, without secrets.
func plain(f *kong.Flag) any {
	switch x := f.Target.Interface().(type) {
	case []string:
		list := make([]string, len(x))
		for i, s := range x {
			list[i] = redacted(s)
			if name, _, ok := strings.Cut(s, ":"); ok && f.Name == "sink-header" {
				list[i] = name + ": (not shown)"
			}
		}
		return list
	case string:
		return redacted(x)
	case fmt.Stringer:
		return x.String()
	default:
		return x
	}
}
