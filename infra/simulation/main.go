package main

import "time"

var start = time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)

func main() {}
