package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// helpCommand lists the commands, or explains one.
func helpCommand(_ context.Context, e env, out io.Writer) error {
	if len(e.args) == 0 || strings.HasPrefix(e.args[0], "-") {
		return listCommands(out)
	}
	if len(e.args) > 1 {
		return usageError(fmt.Sprintf("%q is one argument too many", e.args[1]))
	}
	c, ok := find(e.args[0])
	if !ok {
		return usageError(fmt.Sprintf("there is no command %q", e.args[0]))
	}
	return c.explain(out)
}

func listCommands(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(table, "Cairn signs people in, and connects their Garmin, Foursquare and Strava accounts.\n\n"+
		"Usage: server [COMMAND [ARGUMENTS]]\n\n")
	for _, c := range commands() {
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", c.name, c.summary)
	}
	_, _ = fmt.Fprint(table, "\nserver help COMMAND says more about one. "+
		"Commands read the same environment as the server.\n"+
		"They exit with 0, with 1 when something fails, and with 2 when they are called wrongly.\n")
	return table.Flush()
}

func (c command) explain(out io.Writer) error {
	usage := strings.TrimSpace("server " + c.name + " " + c.args)
	_, err := fmt.Fprintf(out, "%s.\n\nUsage: %s\n%s", c.summary, usage, paragraph(c.about))
	return err
}

func paragraph(text string) string {
	if text == "" {
		return ""
	}
	return "\n" + strings.Trim(text, "\n") + "\n"
}
