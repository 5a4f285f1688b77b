package azure

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"

	"pinreset/events"
	"pinreset/shared/fault"
)

// What a query looks for: kinds of event, codes, and members of the program's line.
var (
	quotedKind = regexp.MustCompile(`'([a-z]+(?:\.[a-z]+)+\.v\d+)'`)
	quotedCode = regexp.MustCompile(`code in \(([^)]*)\)`)
	lineMember = regexp.MustCompile(`line\.([a-z]+)`)
)

// checkAlerts: the queries look for lines that the program writes, and somebody is told.
func checkAlerts(d *deployment) {
	alerts := map[string]string{}
	d.each("Microsoft.Insights/scheduledQueryRules", func(r resource) {
		for _, c := range asList(r.at("properties", "criteria", "allOf")) {
			alerts[r.name] = asText(member(c, "query"))
		}
	})
	d.each("Microsoft.Insights/workbooks", func(r resource) {
		alerts["workbook"] = asText(r.at("properties", "serializedData"))
		if !json.Valid([]byte(alerts["workbook"])) {
			d.problem("the workbook is no JSON")
		}
	})
	source, err := os.ReadFile("../../functions/announcement/announcement.go")
	if err != nil {
		d.problem("announcements: %v", err)
	}
	kinds, codes := 0, 0
	for name, query := range alerts {
		query = strings.ReplaceAll(query, `\u0027`, "'")
		for _, m := range quotedKind.FindAllStringSubmatch(query, -1) {
			if kinds++; !slices.Contains(events.Kinds(), m[1]) {
				d.problem("%s looks for %s, which nobody announces", name, m[1])
			}
		}
		for _, m := range quotedCode.FindAllStringSubmatch(query, -1) {
			for code := range strings.SplitSeq(m[1], ",") {
				code = strings.Trim(code, " '")
				if codes++; !slices.Contains([]fault.Code{fault.ConsentRevoked, fault.ServicePrincipalOff}, fault.Code(code)) {
					d.problem("%s looks for the code %s", name, code)
				}
			}
		}
		for _, m := range lineMember.FindAllStringSubmatch(query, -1) {
			if m[1] != "msg" && !strings.Contains(string(source), `"`+m[1]+`"`) {
				d.problem("%s looks for %q, which is not in the line", name, m[1])
			}
		}
	}
	if kinds < 4 || codes != 2 || !strings.Contains(string(source), `"announced"`) {
		d.problem("alerts look for %d kinds and %d codes", kinds, codes)
	}
	told := 0
	d.each("Microsoft.Insights/metricAlerts", func(r resource) {
		told++
		if criteria := fmt.Sprint(r.at("properties", "criteria", "allOf")); !strings.Contains(criteria, "DeadletteredMessages") || !strings.Contains(criteria, "EntityName") {
			d.problem("no alert on dead letters of each queue: %s", criteria)
		}
	})
	for _, name := range []string{"failure-rate", "consent-lost", "no-audit"} {
		if told++; alerts[asText(d.parameter("name"))+"-"+name] == "" {
			d.problem("there is no alert %s", name)
		}
	}
	emails, _ := d.given["alertEmails"].([]any)
	for _, r := range d.resources {
		actions := fmt.Sprint(r.at("properties", "actions"))
		if isAlert := r.kind == "Microsoft.Insights/metricAlerts" || r.kind == "Microsoft.Insights/scheduledQueryRules"; isAlert && (len(emails) > 0) != strings.Contains(actions, "actionGroups/") {
			d.problem("%s tells %s", r.name, actions)
		}
	}
}
