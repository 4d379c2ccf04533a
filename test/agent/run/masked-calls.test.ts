import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, onTestFinished, test } from 'vitest'
import { RequestedCalls } from '../../../src/agent/run/calls.ts'
import { FAKES } from '../../masking/fakes.ts'
import { payloadsOf, played, reachGoal, Workshop } from '../support.ts'

const [token = ''] = FAKES['github-token'] ?? []
const MASKED = '[masked:github-token]'
const write = (path: string, content: string) => ({ tool: 'file_write', args: { path, content } })
type Call = { readonly tool: string; readonly args: Readonly<Record<string, unknown>> }

/** A run whose process stops at its first call, so that another one ends it. */
async function stoppedInCall(...calls: readonly Call[]) {
  const shop = await Workshop.open([{ calls: [...calls] }, { calls: [reachGoal] }])
  onTestFinished(() => shop[Symbol.asyncDispose]())
  const first = shop.startAgent({
    effects: {
      toolbox: {
        specs: [],
        readOnly: new Set(['grep_search', 'file_list']),
        find: () => undefined,
        execute: () => new Promise(() => {}),
      },
    },
  })
  const runId = await shop.create()
  await shop.until(runId, 'tool_call')
  void first.stop()
  shop.startAgent({ unfinished: [runId] })
  return { shop, results: payloadsOf(await shop.until(runId, 'run_end'), 'tool_result') }
}

describe('a call with a secret in its arguments', () => {
  test('runs with the secret; in the log and in the next request it is masked', async () => {
    const calls = [
      write('a', `key ${token}`),
      { tool: 'bash_exec', args: { command: `printf %s ${token} > b` } },
      { tool: 'file_patch', args: { path: 'a', old: token, new: `${token}!` } },
    ]
    const script = [{ text: `I write ${token}.`, calls }, { calls: [reachGoal] }]
    const { shop, records, results } = await played(script)
    expect(await readFile(join(shop.project, 'a'), 'utf8')).toBe(`key ${token}!`)
    expect(await readFile(join(shop.project, 'b'), 'utf8')).toBe(token)
    expect(results.map(({ outcome }) => outcome)).toEqual(['ok', 'ok', 'ok', 'ok'])
    expect(JSON.stringify(records)).not.toContain(token)
    const [said] = payloadsOf(records, 'assistant_message')
    expect(said?.text).toBe(`I write ${MASKED}.`)
    expect(said?.tool_calls[0]?.args).toEqual({ path: 'a', content: `key ${MASKED}` })
    const sent = JSON.stringify(shop.requests[1]?.messages)
    expect(sent).toContain(MASKED)
    expect(sent).not.toContain(token)
  })

  test('that only reads is not repeated from its masked record', async () => {
    const search = { tool: 'grep_search', args: { pattern: token } }
    const { shop, results } = await stoppedInCall(search)
    const [searched] = results
    expect(searched).toMatchObject({ outcome: 'rejected', exit_code: null })
    expect(searched?.output).toContain('was not run')
    expect(JSON.stringify(shop.requests[1])).toContain('was not run')
  })

  test('that was pending is not run with the mask by the next process; other calls are run', async () => {
    const list = { tool: 'file_list', args: {} }
    const writes = [write('config', `key ${token}`), write('plain', 'no secret')]
    const { shop, results } = await stoppedInCall(list, ...writes)
    expect(results.map(({ outcome }) => outcome)).toEqual(['ok', 'rejected', 'ok', 'ok'])
    expect(existsSync(join(shop.project, 'config'))).toBe(false)
    expect(existsSync(join(shop.project, 'plain'))).toBe(true)
  })
})

test('a mask that the model itself writes is passed to the tool', async () => {
  const { shop } = await played([{ calls: [write('docs', MASKED)] }, { calls: [reachGoal] }])
  expect(await readFile(join(shop.project, 'docs'), 'utf8')).toBe(MASKED)
})

test('two calls whose ids have the same mask are not confused', () => {
  const asked = new RequestedCalls()
  const [other = ''] = FAKES['github-token']?.slice(1) ?? []
  const calls = [token, other].map((call_id, n) => ({ call_id, tool: 't', args: { n, token } }))
  asked.keep(calls)
  const open = { call_id: MASKED, tool: 't', args: { n: 1, token: MASKED }, read_only: false }
  expect(asked.callToRun(open)).toBe(null)
})
