package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"cairn/internal/admin"
)

// help lists the commands, or explains one.
func help(_ context.Context, e admin.Env, out io.Writer) error {
	if len(e.Args) == 0 || strings.HasPrefix(e.Args[0], "-") {
		return listCommands(out)
	}
	if len(e.Args) > 1 {
		return admin.UsageError(fmt.Sprintf("%q is one argument too many", e.Args[1]))
	}
	c, ok := find(commands(limits{}), e.Args[0])
	if !ok {
		return admin.UsageError(fmt.Sprintf("there is no command %q", e.Args[0]))
	}
	return c.explain(out)
}

func listCommands(out io.Writer) error {
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprint(table, "Cairn signs people in, and connects their accounts at providers.\n\n"+
		"Usage: server [COMMAND [ARGUMENTS]]\n\n")
	for _, c := range commands(limits{}) {
		_, _ = fmt.Fprintf(table, "  %s\t%s\n", c.name, c.summary)
	}
	_, _ = fmt.Fprint(table, "\nserver help COMMAND explains a command. "+
		"Commands read the same environment as the server.\n"+
		"The exit code is 0, or 1 if something fails, or 2 if the call is wrong.\n")
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
