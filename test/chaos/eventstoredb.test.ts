import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { type StandIn, startStandIn } from '../support/eventstore-stand-in/index.ts'
import { chaosRun } from './chaos-run.ts'
import type { Cluster } from './eventstoredb-environment.ts'
import { faultPlan } from './faults.ts'
import { reportText } from './report.ts'

/** Commands that act on a stand-in in this process, and what they were called with. */
async function nodeCommands({ faults }: StandIn) {
  const acts: Readonly<Record<string, () => unknown>> = {
    kill: () => faults.depose(),
    stop: () => faults.freeze(),
    start: () => {
      faults.thaw()
      return faults.up()
    },
  }
  const called: string[] = []
  const server = createServer(async ({ url = '' }, response) => {
    const [, act = '', node] = url.split('/')
    called.push(`${act} ${node}`)
    await acts[act]?.()
    response.end()
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => void server.close())
  const { port } = server.address() as AddressInfo
  const command = (act: string) =>
    `${process.execPath} -e 'fetch("http://127.0.0.1:${port}/${act}/" + process.argv[1])'`
  return {
    called,
    killNode: command('kill'),
    stopNode: command('stop'),
    startNode: command('start'),
  }
}

/** The first seed whose plan soon kills a node and stops one. */
function seedOf(cluster: Cluster): number {
  for (let seed = 1; ; seed += 1) {
    const first = faultPlan(seed, 'eventstoredb', cluster)
      .take(3)
      .map(({ name }) => name)
    const names = new Set(first)
    if (names.has('kill_node') && names.has('stop_node')) return seed
  }
}

test('three servers on an EventStoreDB whose nodes are killed and stopped by commands', {
  timeout: 300_000,
}, async () => {
  const standIn = await startStandIn()
  onTestFinished(() => standIn.stop())
  const { called, ...commands } = await nodeCommands(standIn)
  const cluster = { url: standIn.connectionString, nodes: 3, ...commands }
  const short = { seed: seedOf(cluster), kills: 4, seconds: 30, runs: 4 }
  const report = await chaosRun({ ...short, store: 'eventstoredb', cluster })
  console.log(reportText(report))
  expect(report.violations).toEqual([])
  expect(called).toContainEqual(expect.stringMatching(/^kill [012]$/))
  expect(called).toContainEqual(expect.stringMatching(/^stop [012]$/))
  expect(called.filter((call) => /^start [012]$/.test(call))).toHaveLength(called.length / 2)
})
