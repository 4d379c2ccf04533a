import { PassThrough } from 'node:stream'
import { expect, test } from 'vitest'
import { StdioTransport } from '../../src/mcp/transports.ts'
import type { RunningProcess } from '../../src/runner/run-command.ts'

const SECRET = 'ghp_0123456789abcdefghijABCDEFGHIJ012345'

/** Why a server is gone that has printed this in addition to its messages. */
async function failureAfter(...printed: readonly Buffer[]): Promise<string | null> {
  const ended = Promise.withResolvers<Awaited<RunningProcess['ended']>>()
  const stderr = new PassThrough({ objectMode: true })
  const transport = new StdioTransport(
    async () => ({
      stdin: new PassThrough(),
      stdout: new PassThrough({ objectMode: true }),
      stderr,
      ended: ended.promise,
      stop: () => {},
      stopFlood: () => {},
      outputBytes: 1_000,
      policy: undefined,
    }),
    () => true,
  )
  await transport.start()
  for (const chunk of printed) stderr.emit('data', chunk)
  ended.resolve({ end: 'exited', exitCode: 1, message: '' })
  await ended.promise
  return transport.failure
}

test('the last words of a server hold no part of a secret, wherever they are cut', async () => {
  const words = Buffer.from(`${SECRET} ${'x'.repeat(1_980)}`)
  for (const at of [10, 30, words.length]) {
    const failure = await failureAfter(words.subarray(0, at), words.subarray(at))
    expect(failure).toContain('It printed last: ')
    expect(failure).not.toContain('ABCDEFGHIJ012345')
  }
})

test('a character in two pieces stays one', async () => {
  const words = Buffer.from('schön')
  expect(await failureAfter(words.subarray(0, 4), words.subarray(4))).toMatch(/last: schön\.$/)
})
