package main

import "github.com/spf13/cobra"

func (p *process) doctorCommand() *cobra.Command { return p.noun("doctor", "x") }
