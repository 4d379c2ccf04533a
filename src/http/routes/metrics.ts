import type { FastifyInstance } from 'fastify'
import type { Registry } from 'prom-client'
import * as z from 'zod'
import { RUN_STATUSES } from '../../api/records.ts'
import { RUN_STREAM_PREFIX } from '../../log/run-log.ts'
import { logPages } from '../../log/stream-pages.ts'
import type { AppDeps } from '../deps.ts'
import type { Live } from '../live/live.ts'
import { described, operation } from '../operation.ts'

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
      ...{ name, help, registers },
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
      ...{ name, help, registers },
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
    ...{ name: 'retrai_runs', help: 'Runs by status', labelNames: ['status'], registers },
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
  const behind = `Records that lists and states do not show yet; more than ${MOST_BEHIND} are not counted`
  gauge('retrai_read_model_behind_records', behind, () => recordsBehind(deps))
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
