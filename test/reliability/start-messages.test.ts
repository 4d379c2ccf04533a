import { createInterface } from 'node:readline'
import { expect } from 'vitest'
import { test } from '../support/test.ts'

test('a server logs where it listens while its store is away, and that it is ready only when it is', async ({
  site,
}) => {
  const standIn = await site.standIn()
  await standIn.faults.down()
  const server = await site.serve('data', { store: standIn })
  const { stdout } = server.process
  if (stdout === null) throw new Error('stdout is a pipe')
  const lines: string[] = []
  const ready = new Promise<void>((resolve) => {
    createInterface({ input: stdout }).on('line', (line) => {
      lines.push(line)
      if (line.includes('retrai is ready at')) resolve()
    })
  })
  await standIn.faults.up()
  await ready
  await server.untilReady()
  const text = lines.join('\n')
  expect(text).toMatch(/log_id\W+[0-9a-f]{8}-/)
})
