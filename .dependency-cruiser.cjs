/** The rooms, and what each may import; docs/architecture.md describes them. */
const ROOMS = {
  lib: [],
  domain: [],
  store: ['domain', 'lib'],
  // What changed between the files of two snapshots.
  snapshots: ['api', 'artifacts', 'domain', 'lib', 'log', 'masking'],
  // What is masked, and the secrets of this process.
  masking: ['lib'],
  log: ['artifacts', 'domain', 'lib', 'masking', 'store/event-store.ts'],
  redaction: ['artifacts', 'domain', 'lib', 'log', 'store/event-store.ts'],
  retention: ['api', 'artifacts', 'domain', 'lib', 'log', 'store/event-store.ts'],
  projections: ['domain', 'lib', 'log', 'redaction', 'store/event-store.ts'],
  api: ['domain'],
  queries: ['api', 'domain', 'lib', 'log', 'projections', 'store/event-store.ts'],
  artifacts: ['lib'],
  // What a command sees, and what it reaches.
  sandbox: ['domain', 'lib'],
  // Outputs are masked where they are cut, with the secrets of the process.
  runner: ['domain', 'lib', 'masking', 'sandbox'],
  // The program of it runs where commands run, so it brings only what has no other room in it.
  workspace: ['domain', 'lib', 'runner'],
  models: ['domain', 'lib', 'masking'],
  // Goals, and how each is checked.
  checks: ['domain', 'lib', 'runner', 'workspace'],
  // The MCP servers of a run, and the tools that they offer.
  mcp: ['domain', 'lib', 'log', 'masking', 'models', 'runner', 'sandbox'],
  // Copies of projects, and files carried between snapshots and folders.
  carry: [
    'artifacts',
    'domain',
    'lib',
    'log',
    'masking',
    'runner',
    'sandbox',
    'snapshots',
    'store/event-store.ts',
    'workspace',
  ],
  // What is under way in runs and not recorded yet: the agent writes it, and http delivers it.
  live: ['masking'],
  agent: [
    'artifacts',
    'carry',
    'checks',
    'domain',
    'lib',
    'live',
    'log',
    'masking',
    'mcp',
    'models',
    'runner',
    'sandbox',
    'snapshots',
    'store/event-store.ts',
    'workspace',
  ],
  // The keys of a server, the checkpoints that it signs with them, and the witnesses that see these.
  checkpoints: ['api', 'domain', 'lib', 'log', 'store/event-store.ts'],
  audit: [
    'api',
    'artifacts',
    'checkpoints',
    'domain',
    'lib',
    'log',
    'masking',
    'redaction',
    'retention/ledger.ts',
    'store/event-store.ts',
  ],
  auth: ['api', 'domain', 'lib', 'log', 'store/event-store.ts'],
  // Records are sent only to addresses that the network of a run may not reach either.
  webhooks: [
    'api',
    'domain',
    'lib',
    'log',
    'models/patient-fetch.ts',
    'store/event-store.ts',
    'sandbox/network/public-only.ts',
  ],
  http: [
    'api',
    'audit',
    'auth',
    'checkpoints/merkle.ts',
    'domain',
    'lib',
    'live',
    'log',
    'masking',
    'projections',
    'queries',
    'redaction',
    'retention',
    'snapshots',
    'store/event-store.ts',
    'webhooks',
  ],
  // Spans of runs, made from the log.
  traces: ['domain', 'lib', 'log', 'store/event-store.ts'],
  // The domain's types that are on the wire come through api/records.ts.
  client: [
    'api',
    'lib',
    ...['file-changes', 'pause', 'plain-text', 'records', 'verdict'].map(
      (name) => `domain/${name}.ts`,
    ),
  ],
  server: [
    'agent',
    'api',
    'artifacts',
    'audit',
    'auth',
    'carry',
    'checkpoints',
    'checks',
    'domain',
    'http',
    'lib',
    'live',
    'log',
    'masking',
    'mcp',
    'models',
    'projections',
    'redaction',
    'retention',
    'runner',
    'sandbox',
    'snapshots',
    'store',
    'traces',
    'webhooks',
    'workspace',
  ],
  cli: [
    'api',
    'artifacts',
    'audit',
    'checkpoints',
    'client',
    'domain',
    'lib',
    'log',
    'masking',
    'server',
    'store',
    'redaction/redaction-index.ts',
    'retention/ledger.ts',
  ],
}

/** What the console may import of the server: the contract, the client, and what it folds and verifies runs with. */
const CONSOLE = [
  'api/',
  'client/index\\.ts$',
  'domain/evolve\\.ts$',
  'domain/file-changes\\.ts$',
  'domain/state\\.ts$',
  'domain/verdict\\.ts$',
  'log/commitment\\.ts$',
  'checkpoints/public-keys\\.ts$',
  'audit/verify/verify-run\\.ts$',
]

/** What a page of evidence may import besides: the verifier of exports, and what shows its result and changed files. */
const EVIDENCE = [
  'audit/bundle/(bundle-format|evidence-page|tar-parts)\\.ts$',
  'audit/verify/',
  'lib/',
  'client/gist\\.ts$',
  'domain/(plain-text|records)\\.ts$',
  'snapshots/(compare-trees|file-diff)\\.ts$',
]

const rooms = Object.entries(ROOMS).map(([room, imports]) => ({
  name: `room-${room}`,
  severity: 'error',
  from: { path: `^src/${room}/` },
  to: {
    path: '^src/',
    pathNot: [
      `^src/${room}/`,
      ...imports.map((path) => `^src/${path}${path.endsWith('.ts') ? '$' : '/'}`),
    ],
  },
}))

const library = (name, from, pkg) => ({
  name,
  severity: 'error',
  from: { path: '^src/', pathNot: `^src/${from}` },
  to: { path: `node_modules/${pkg}/` },
})

module.exports = {
  forbidden: [
    { name: 'no-cycles', severity: 'error', from: {}, to: { circular: true } },
    { name: 'no-unresolvable', severity: 'error', from: {}, to: { couldNotResolve: true } },
    ...rooms,
    {
      name: 'the-console-shares-the-contract',
      severity: 'error',
      from: { path: '^web/', pathNot: '^web/src/evidence/' },
      to: { path: '^src/', pathNot: CONSOLE.map((path) => `^src/${path}`) },
    },
    {
      name: 'a-page-of-evidence-verifies',
      severity: 'error',
      from: { path: '^web/src/evidence/' },
      to: { path: '^src/', pathNot: [...CONSOLE, ...EVIDENCE].map((path) => `^src/${path}`) },
    },
    {
      name: 'adapters-do-not-know-each-other',
      severity: 'error',
      from: { path: '^src/store/(embedded|eventstoredb)/' },
      to: { path: '^src/store/(embedded|eventstoredb)/', pathNot: '^src/store/$1/' },
    },
    {
      name: 'domain-is-pure',
      severity: 'error',
      from: { path: '^src/domain/' },
      to: { pathNot: ['^src/domain/', 'node_modules/(zod|neverthrow)/'] },
    },
    {
      name: 'the-program-of-a-workspace-is-small',
      severity: 'error',
      from: { path: '^src/workspace/(program/|workspace-program|protocol)' },
      to: {
        path: '^src/',
        pathNot: '^src/(lib|domain|workspace/(program/|protocol))',
      },
    },
    {
      name: 'the-client-needs-nothing-of-node',
      severity: 'error',
      from: { path: '^src/client/' },
      to: { path: '^(node:)?(crypto|fs|fs/promises|os|path|stream|url)$', reachable: true },
    },
    library('db-client-stays-in-its-adapter', 'store/eventstoredb/', '@eventstore/db-client'),
    library('openai-stays-in-its-adapter', 'models/adapters/', 'openai'),
    library('anthropic-stays-in-its-adapter', 'models/adapters/', '@anthropic-ai/sdk'),
    library('fastify-stays-in-http', 'http/', '(@fastify|fastify)'),
    library('opentelemetry-stays-in-traces', 'traces/', '@opentelemetry'),
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
