{
  local config = $._config,
  local committed = $._committed,

  local yaml = import 'yaml.libsonnet',

  // The groups of a rule file, with the addresses of _config.
  local groups(text) =
    local withGrafana = std.strReplace(text, committed.grafanaUrl, std.rstripChars(config.grafanaUrl, '/'));
    yaml.parse(std.strReplace(withGrafana, committed.runbookUrl, config.runbookUrl)).groups,

  local alertGroups = groups(importstr '../../config/rules/alerts.yml'),

  local known = [rule.alert for group in alertGroups for rule in group.rules],
  local unknown = [name for name in config.disabledAlerts if !std.member(known, name)],
  local disabled =
    if unknown == [] then config.disabledAlerts
    else error 'disabledAlerts: there is no alert ' + std.join(', ', unknown),

  local alerts(group) = group {
    rules: [
      rule { labels+: config.alertLabels }
      for rule in group.rules
      if !std.member(disabled, rule.alert)
    ],
  },

  prometheusAlerts+:: {
    groups+: [
      group
      for group in std.map(alerts, alertGroups)
      if group.rules != []
    ],
  },

  // The alerts need these as well.
  prometheusRules+:: {
    groups+: groups(importstr '../../config/rules/recording.yml'),
  },
}
