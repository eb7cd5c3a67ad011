package routes

import (
	"bytes"
	"fmt"
	"html/template"
	texttemplate "text/template"
	"text/template/parse"
)

// fold writes the results of icon and asset into a set of templates, where their arguments are constants. Called for
// each page, they made a quarter of what the sign-in page allocates.
func fold(set *template.Template, funcs template.FuncMap) error {
	for _, t := range set.Templates() {
		if t.Tree == nil {
			continue
		}
		if err := foldList(t.Tree.Root, funcs); err != nil {
			return fmt.Errorf("%s: %w", t.Name(), err)
		}
	}
	return nil
}

func foldList(list *parse.ListNode, funcs template.FuncMap) error {
	if list == nil {
		return nil
	}
	for i, node := range list.Nodes {
		var branch parse.BranchNode
		switch n := node.(type) {
		case *parse.ActionNode:
			if !isConstant(n.Pipe) {
				continue
			}
			text, err := result(n, funcs)
			if err != nil {
				return err
			}
			list.Nodes[i] = &parse.TextNode{NodeType: parse.NodeText, Pos: n.Pos, Text: text}
		case *parse.IfNode:
			branch = n.BranchNode
		case *parse.RangeNode:
			branch = n.BranchNode
		case *parse.WithNode:
			branch = n.BranchNode
		}
		if err := foldList(branch.List, funcs); err != nil {
			return err
		}
		if err := foldList(branch.ElseList, funcs); err != nil {
			return err
		}
	}
	return nil
}

// isConstant reports whether a pipeline is one call of icon or asset whose arguments are constants. Their results need
// no escaping: addresses of ours, and markup of ours.
func isConstant(p *parse.PipeNode) bool {
	if len(p.Decl) > 0 || len(p.Cmds) != 1 {
		return false
	}
	called, ok := p.Cmds[0].Args[0].(*parse.IdentifierNode)
	if !ok || called.Ident != "icon" && called.Ident != "asset" {
		return false
	}
	for _, arg := range p.Cmds[0].Args[1:] {
		if _, ok := arg.(*parse.StringNode); !ok {
			return false
		}
	}
	return true
}

// result is what a node writes that needs no data.
func result(n parse.Node, funcs template.FuncMap) ([]byte, error) {
	t, err := texttemplate.New("").Funcs(texttemplate.FuncMap(funcs)).Parse(n.String())
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	err = t.Execute(&out, nil)
	return out.Bytes(), err
}
