{
  grafanaDashboardFolder:: 'Videogen',

  grafanaDashboards+:: {
    'videogen-cost.json': import '../../dashboards/videogen-cost.json',
    'videogen-exporter.json': import '../../dashboards/videogen-exporter.json',
    'videogen-gateway.json': import '../../dashboards/videogen-gateway.json',
    'videogen-overview.json': import '../../dashboards/videogen-overview.json',
    'videogen-task.json': import '../../dashboards/videogen-task.json',
    'videogen-triage.json': import '../../dashboards/videogen-triage.json',
    'videogen-upstream.json': import '../../dashboards/videogen-upstream.json',
  },
}
