import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { retrai } from '../cli/support.ts'
import { Site, untilReady } from './support.ts'

let site: Site
beforeEach(async () => {
  site = await Site.open()
})
afterEach(() => site[Symbol.asyncDispose]())

test('a server logs where it listens while its store is away, and that it is ready only when it is', async () => {
  const standIn = await site.standIn()
  await standIn.faults.down()
  const server = await site.serve('data', { args: ['--store', standIn.connectionString] })
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
  await untilReady(server)
  const text = lines.join('\n')
  expect(text).toContain('0.0.0-stand-in')
  expect(text).toMatch(/"leader":"127\.0\.0\.1:\d+"|leader: "127\.0\.0\.1:\d+"/)
  expect(text).toMatch(/log_id\W+[0-9a-f]{8}-/)
})

test('a server whose user may not write refuses to start, and names the user', async () => {
  const standIn = await site.standIn()
  standIn.faults.readOnly = 'run-'
  const url = `esdb://ada:secret@127.0.0.1:${standIn.port}?tls=false`
  const args = ['serve', '--port', '0', '--data-dir', site.path('data'), '--store', url]
  const { code, stderr } = await retrai(args)
  expect(code).not.toBe(0)
  expect(stderr).toContain('the user "ada" in EVENTSTORE_URL lacks a right')
  expect(stderr).not.toContain('secret')
})
