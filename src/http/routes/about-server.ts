import type { FastifyInstance } from 'fastify'
import { err } from 'neverthrow'
import type { Registry } from 'prom-client'
import * as z from 'zod'
import {
  Goal,
  IsolationOffer,
  Liveness,
  McpOffer,
  Model,
  Readiness,
  ServerApprovals,
} from '../../api/about-server.ts'
import { roleMay } from '../../api/auth.ts'
import { RUN_STATUSES } from '../../api/records.ts'
import { GoalsQuery } from '../../api/run-requests.ts'
import { RUN_STREAM_PREFIX } from '../../log/run-log.ts'
import { logPages } from '../../log/stream-pages.ts'
import type { AppDeps } from '../deps.ts'
import type { Live } from '../live/live.ts'
import { described, operation } from '../operation.ts'
import { callerOf, forbidden } from '../plugins/security.ts'
import { invalidFields } from '../problems/problem-of.ts'

/** What the server is, and what a run may have on it. */
export function aboutServer(app: FastifyInstance, deps: AppDeps): void {
  health(app, deps)
  offers(app, deps)
}

function health(app: FastifyInstance, { ready }: AppDeps): void {
  operation(app, 'GET /health/live', {
    needs: null,
    id: 'live',
    tag: 'health',
    summary: 'Whether the server runs',
    answers: { 200: described('It runs', Liveness) },
    handle: () => ({ status: 'ok' }) as const,
  })
  operation(app, 'GET /health/ready', {
    needs: null,
    id: 'ready',
    tag: 'health',
    summary: 'Whether the server can do its work now',
    answers: {
      200: described(
        'The store answers, and the projections have caught up. `integrity` reports if something in the log was changed or removed; the server serves it nevertheless',
        Readiness,
      ),
      503: described('Not yet, or not now', Readiness),
    },
    handle: async (_request, reply) => {
      const readiness = await ready()
      reply.code(readiness.ready ? 200 : 503)
      return readiness
    },
  })
}

function offers(app: FastifyInstance, deps: AppDeps): void {
  operation(app, 'GET /api/goals', {
    needs: 'runs:read',
    id: 'listGoals',
    tag: 'goals',
    summary: 'List the goals that a run can have',
    description:
      'With `cwd`, only those that seem to fit the project in that folder of the server, best first. If none fits, the ' +
      'list is empty: a run can still name a goal, or a command of its own in `check`. Only a caller who may start runs ' +
      '(permission `runs:create`) may ask about a folder.',
    query: GoalsQuery,
    answers: { 200: described('The goals of this server', z.array(Goal)) },
    handle: (request) => {
      const { cwd } = request.query
      if (cwd === undefined) return deps.goals
      // The answer says which folders exist, and what they hold.
      const caller = callerOf(request)
      if (!roleMay(caller.role, 'runs:create')) return err(forbidden(caller, 'runs:create'))
      return deps.fittingGoals(cwd).mapErr(invalidFields)
    },
  })
  operation(app, 'GET /api/models', {
    needs: 'runs:read',
    id: 'listModels',
    tag: 'models',
    summary: 'List the models that a run can name',
    description:
      'The models that this server knows, with those that an endpoint of the operator and Ollama report. A run may name others ' +
      'of the same providers too. Those that cannot be called now have a `problem`.',
    answers: { 200: described('The default comes first', z.array(Model)) },
    handle: () => deps.models(),
  })
  operation(app, 'GET /api/mcp-servers', {
    needs: 'runs:read',
    id: 'listMcpServers',
    tag: 'runs',
    summary: 'List the MCP servers that a run can name',
    description:
      'The servers of RETRAI_MCP_SERVERS, and whether a run may bring others (RETRAI_MCP_REQUESTS). Nothing is ' +
      'asked of them: a run lists their tools before its first request to the model.',
    answers: { 200: described('What this server offers', McpOffer) },
    handle: () => deps.mcpOffer,
  })
  operation(app, 'GET /api/approvals', {
    needs: 'runs:read',
    id: 'listServerApprovals',
    tag: 'runs',
    summary: 'List the rules of the server for the calls of every run',
    description:
      'The rules of RETRAI_APPROVALS. A run may have rules of its own: of both lists, the stricter decision counts.',
    answers: { 200: described('The rules; none if the server has none', ServerApprovals) },
    handle: () => ({ rules: deps.serverApprovals }),
  })
  operation(app, 'GET /api/isolation', {
    needs: 'runs:read',
    id: 'showIsolation',
    tag: 'runs',
    summary: 'Show how commands are isolated, and what a run may ask for',
    description:
      'The level, the network and the limits that a run may choose in POST /api/runs. The first request tries the ' +
      'levels that are stricter than that of the server.',
    answers: { 200: described('What this server offers', IsolationOffer) },
    handle: () => deps.isolationOffer(),
  })
}

type Prometheus = typeof import('prom-client')

/** Measures the server, for Prometheus. */
export function metrics(app: FastifyInstance, deps: AppDeps, { sockets }: Live): void {
  let measured: Registry | null = null
  operation(app, 'GET /metrics', {
    needs: 'runs:read',
    id: 'metrics',
    tag: 'health',
    summary: 'Measure the server, for Prometheus',
    description:
      'Counters are sums over the records of all runs, so a restart keeps them. No text of a run is shown.',
    answers: { 200: described('The text format of Prometheus', z.string(), 'text/plain') },
    handle: async (_request, reply) => {
      // Loaded only here, so that a server whose metrics nobody reads does not wait for it.
      measured ??= measure(await import('prom-client'), deps, sockets)
      return reply.type(measured.contentType).send(await measured.metrics())
    },
  })
}

/** `process_*` and `nodejs_*`. */
function measureProcess({ Counter, collectDefaultMetrics }: Prometheus, registry: Registry): void {
  collectDefaultMetrics({ register: registry })
  // The library counts from here on, and these are about the whole life of the process.
  const { user, system } = process.cpuUsage()
  const until = { user_: user, system_: system, '': user + system }
  for (const [part, microseconds] of Object.entries(until)) {
    const counter = registry.getSingleMetric(`process_cpu_${part}seconds_total`)
    if (counter instanceof Counter) counter.inc(microseconds / 1e6)
  }
}

/** The process, and `retrai_*`, which is read when it is asked for. */
function measure(prometheus: Prometheus, deps: AppDeps, sockets: Live['sockets']): Registry {
  const { Registry, Gauge, Counter } = prometheus
  const registry = new Registry()
  measureProcess(prometheus, registry)
  const { readModel, commandsRunning, webhookPending } = deps
  const registers = [registry]
  const gauge = (name: string, help: string, value: () => number | Promise<number>) =>
    new Gauge({
      name,
      help,
      registers,
      async collect() {
        this.set(await value())
      },
    })
  /** @param labelsOf by the part of the name of a total before the slash, the labels without the part after it */
  const counter = (
    name: string,
    help: string,
    label: string,
    labelsOf: Readonly<Record<string, Readonly<Record<string, string>>>>,
  ) =>
    new Counter({
      name,
      help,
      registers,
      labelNames: [label, ...Object.values(labelsOf).flatMap((labels) => Object.keys(labels))],
      collect() {
        this.reset()
        for (const [total, value] of Object.entries(readModel.totals)) {
          const slash = total.indexOf('/')
          const labels = labelsOf[total.slice(0, slash)]
          if (labels) this.inc({ [label]: total.slice(slash + 1), ...labels }, value)
        }
      },
    })
  new Gauge({
    name: 'retrai_runs',
    help: 'Runs by status',
    labelNames: ['status'],
    registers,
    collect() {
      const runs = readModel.statuses()
      for (const status of RUN_STATUSES) this.set({ status }, runs.get(status) ?? 0)
    },
  })
  counter('retrai_run_tokens_total', 'Tokens that models reported', 'model', {
    input: { direction: 'input' },
    output: { direction: 'output' },
  })
  counter('retrai_run_cost_usd_total', 'Estimated cost, as far as prices are known', 'model', {
    cost: {},
  })
  counter('retrai_log_records_total', 'Records of runs', 'kind', { records: {} })
  const lag = `Records that lists and states do not show yet; more than ${MOST_BEHIND} are not counted`
  gauge('retrai_read_model_behind_records', lag, () => recordsBehind(deps))
  gauge('retrai_sockets', 'Open WebSockets', () => sockets.count)
  gauge('retrai_commands_running', 'Commands of agents and checks', commandsRunning)
  gauge('retrai_webhook_pending', 'Deliveries of webhooks that are due', webhookPending)
  return registry
}

const MOST_BEHIND = 10_000
/** How long the count waits for the store. */
const SILENT_MS = 2_000

/** NaN while the store does not answer. */
async function recordsBehind({ store, checkpoint }: AppDeps): Promise<number> {
  const after = checkpoint()?.position ?? null
  let count = 0
  const prefix = RUN_STREAM_PREFIX
  for await (const page of logPages(store, { after, prefix, silentMs: SILENT_MS })) {
    if (page.isErr()) return Number.NaN
    count += page.value.length
    if (count >= MOST_BEHIND) break
  }
  return Math.min(count, MOST_BEHIND)
}
