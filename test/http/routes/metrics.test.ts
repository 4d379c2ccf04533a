import { expect } from 'vitest'
import { WebSocket } from 'ws'
import { streamOf } from '../../../src/log/run-log.ts'
import { lastEvent } from '../../../src/log/stream-pages.ts'
import { ask } from '../../support/requests.ts'
import { CLAIM, iteration } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { within } from '../../support/within.ts'

test('GET /metrics measures runs, and what their records amount to', async ({
  ownServer: server,
}) => {
  const [ended] = [await server.createRun(), await server.createRun()]
  await server.agentDoes(ended, CLAIM, ...iteration(true))
  const socket = new WebSocket(`${server.url.replace('http', 'ws')}/api/ws`)
  await within(new Promise((resolve) => socket.once('open', resolve)), () => 'a socket')
  const last = (await lastEvent(server.store, streamOf(ended)))._unsafeUnwrap()
  await server.readModel.waitFor(ended, last.revision, 30_000)
  const { user, system } = process.cpuUsage()
  const { text, headers } = await ask(server, 'GET /metrics')
  expect(headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  const samples = new Map(
    text
      .split('\n')
      .map((line) => [line.slice(0, line.lastIndexOf(' ')), Number(line.split(' ').at(-1))]),
  )
  const model = 'model="claude-sonnet-4-6"'
  for (const [name, value] of [
    ['retrai_runs{status="achieved"}', 1],
    ['retrai_runs{status="running"}', 1],
    ['retrai_runs{status="awaiting_human"}', 0],
    [`retrai_run_tokens_total{${model},direction="input"}`, 100],
    [`retrai_run_tokens_total{${model},direction="output"}`, 20],
    [`retrai_run_cost_usd_total{${model}}`, 0.001],
    ['retrai_log_records_total{kind="run_created"}', 2],
    ['retrai_log_records_total{kind="run_end"}', 1],
    ['retrai_read_model_behind_records', 0],
    ['retrai_sockets', 1],
    ['retrai_commands_running', 0],
    ['retrai_webhook_pending', 0],
  ] as const) {
    expect([name, samples.get(name)]).toEqual([name, value])
  }
  expect(samples.has('nodejs_eventloop_lag_seconds')).toBe(true)
  // Since the start of the process, not since somebody asked first.
  expect(samples.get('process_cpu_seconds_total')).toBeGreaterThan((user + system) / 1.1e6)
  expect(text).toContain('# TYPE retrai_run_tokens_total counter')
  socket.terminate()
})
