{
  _config+:: {
    // Your Grafana, for the links of alerts to dashboards.
    grafanaUrl: 'http://localhost:3000',
    // Your page of runbooks; '#' and the name of the alert in lower case follow.
    runbookUrl: 'https://github.com/videogen-exporter/videogen-exporter/blob/main/docs/runbooks.md',
    // Names of alerts to leave out.
    disabledAlerts: [],
    // Labels of every alert.
    alertLabels: {},
  },

  // The addresses in the committed files.
  _committed:: {
    grafanaUrl: 'http://localhost:3000',
    runbookUrl: 'https://github.com/videogen-exporter/videogen-exporter/blob/main/docs/runbooks.md',
  },
}
