/** The rooms of the house and the doors between them; docs/architecture.md tells why. */
const only = (name, from, allowed) => ({
  name,
  severity: 'error',
  from: { path: `^src/${from}` },
  to: {
    path: '^src/',
    pathNot: [`^src/${from}`, '^src/lib/', ...allowed.map((room) => `^src/${room}`)],
  },
})
const library = (name, from, pkg) => ({
  name,
  severity: 'error',
  from: { path: '^src/', pathNot: `^src/${from}` },
  to: { path: `node_modules/${pkg}/` },
})
const PORT = 'store/[^/]+\\.ts$'

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    only('domain-imports-no-room', 'domain/', []),
    only('lib-imports-no-room', 'lib/', []),
    {
      name: 'domain-is-pure',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { pathNot: ['^src/domain/', 'node_modules/(zod|neverthrow)/'] },
    },
    only('store-port-knows-the-domain', PORT, ['domain/', 'store/[^/]+\\.ts$']),
    only('embedded-adapter', 'store/embedded/', ['domain/', PORT]),
    only('eventstoredb-adapter', 'store/eventstoredb/', ['domain/', PORT]),
    only('projections', 'projections/', ['domain/', PORT]),
    only('agent', 'agent/', ['domain/', PORT]),
    only('audit', 'audit/', ['domain/', PORT]),
    only('access', 'access/', ['domain/', PORT]),
    only('http', 'http/', ['domain/', PORT, 'projections/', 'audit/', 'access/']),
    {
      name: 'client-runs-in-browsers-too',
      severity: 'error',
      from: { path: '^src/client/' },
      to: {
        pathNot: [
          '^src/(client|domain)/',
          '^src/projections/(history-)?views\\.ts$',
          '^src/audit/views\\.ts$',
          '^src/access/(roles|views)\\.ts$',
          'node_modules/(zod|neverthrow)/',
        ],
      },
    },
    {
      name: 'client-needs-nothing-of-node',
      severity: 'error',
      from: { path: '^src/client/' },
      to: { path: '^(node:)?(crypto|fs|fs/promises|os|path|stream|url)$', reachable: true },
    },
    library('db-client-stays-in-its-adapter', 'store/eventstoredb/', '@eventstore/db-client'),
    library('openai-stays-in-its-adapter', 'agent/model/', 'openai'),
    library('fastify-stays-in-http', 'http/', '(@fastify|fastify)'),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    tsConfig: { fileName: 'tsconfig.json' },
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default', 'types'],
    },
  },
}
