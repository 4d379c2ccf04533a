import { setTimeout as delay } from 'node:timers/promises'
import { expect } from 'vitest'
import type { RunRecord } from '../../src/domain/records.ts'
import { Wire } from '../support/eventstore-stand-in/wire.ts'
import { bash, runIn, type Site, type SiteServer, until } from '../support/site.ts'
import { test } from '../support/test.ts'
import { callProblems } from './call-invariants.ts'
import { eventsInFile, eventsInStandIn, type StoredEvent } from './evidence.ts'
import { Random } from './random.ts'

const LONG = { timeout: 300_000 }
const SCRIPT = [bash('touch done')]
const KILLS = 5
const LEASE_SECONDS = 1
/** How many leases a server is cut off. */
const LEASES = 3

/** Starts a run whose checks take two seconds, as soon as the server can. @returns its id */
async function startSlowRun(site: Site, server: SiteServer, name: string): Promise<string> {
  await site.write(`${name}/.retrai.yml`, 'check_command: sleep 2; test -f done\n')
  const key = { 'idempotency-key': name }
  const { body } = await until(
    () => server.post('/api/runs', runIn(site.path(name)), key),
    ({ status }) => status === 201 || status === 200,
  )
  return String(body.run_id)
}

/** Fails unless each run has achieved its goal. @returns how their claims came about */
function claimsOf(logs: readonly (readonly StoredEvent[])[]) {
  const claims = { after_crash: 0, lease_expired: 0 }
  for (const events of logs) {
    const records = events.map(({ data }): RunRecord => JSON.parse(data))
    expect(records.at(-1)).toMatchObject({ kind: 'run_end', payload: { status: 'achieved' } })
    expect(callProblems(records)).toEqual([])
    for (const record of records) {
      if (record.kind !== 'run_claimed') continue
      if (record.payload.after_crash === true) claims.after_crash += 1
      if (record.payload.after === 'lease_expired') claims.lease_expired += 1
    }
  }
  return claims
}

test(
  'a server that is killed again and again during a check costs time, and no run',
  LONG,
  async ({ site }) => {
    const model = await site.model(SCRIPT)
    const random = new Random(1, 'crash loop')
    let server = await site.serve('data', { model })
    const names = ['a', 'b', 'c']
    const runIds = await Promise.all(names.map((name) => startSlowRun(site, server, name)))
    for (let killed = 0; killed < KILLS; killed += 1) {
      await server.untilReady()
      await delay(random.int(0, 1_000))
      await server.kill()
      server = await site.serve('data', { model })
    }
    for (const runId of runIds) await server.untilStatus(runId, 'achieved')
    const claims = claimsOf(runIds.map((runId) => eventsInFile(site.path('data'), runId)))
    expect(claims.after_crash).toBeGreaterThan(0)
  },
)

test(
  'a server that is cut off from its store has not crashed, and no run fails of it',
  LONG,
  async ({ site }) => {
    const model = await site.model(SCRIPT)
    const standIn = await site.standIn()
    const wires = Array.from({ length: 3 }, () => new Wire(0, standIn.port))
    const servers = await Promise.all(
      wires.map(async (wire, n) => {
        await wire.open()
        site.onClose(() => wire.close())
        const url = `esdb://127.0.0.1:${wire.port}?tls=false&defaultDeadline=1500`
        const env = { RETRAI_LEASE_SECONDS: String(LEASE_SECONDS) }
        return site.serve(`data-${n}`, { model, store: { connectionString: url }, env })
      }),
    )
    for (const server of servers) await server.untilReady()
    const runIds: string[] = []
    let cutting = true
    const lives = servers.map(async (server, n) => {
      for (let run = 0; cutting; run += 1) {
        const runId = await startSlowRun(site, server, `run-${n}-${run}`)
        runIds.push(runId)
        await until(
          () => server.get(`/api/runs/${runId}`),
          ({ body }) => typeof body.ended_at === 'string',
        )
      }
    })
    for (const [n, wire] of wires.entries()) {
      await wire.close()
      await delay(LEASES * LEASE_SECONDS * 1_000)
      await wire.open()
      await servers[n]?.untilReady()
    }
    cutting = false
    await Promise.all(lives)
    const claims = claimsOf(runIds.map((runId) => eventsInStandIn(standIn, runId)))
    expect(claims.after_crash).toBe(0)
    expect(claims.lease_expired).toBeGreaterThan(0)
  },
)
