import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface, type Interface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { describe, expect, onTestFinished, test } from 'vitest'
import { append, dense, numbered, readAll, revisions } from '../contract/support.ts'
import { openStore, refusal, testFolder } from './support.ts'

const APPENDER = fileURLToPath(new URL('./appender.ts', import.meta.url))

type Appender = { readonly child: ChildProcess; readonly lines: Interface }

/** @param prepare shell commands before the process is started */
function appender(file: string, writers: number, bytes: number, prepare = ':'): Appender {
  const args = [process.execPath, APPENDER, file, String(writers), String(bytes)]
  const child = spawn('sh', ['-c', `${prepare}; exec "$@"`, 'sh', ...args], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  onTestFinished(() => {
    child.kill('SIGKILL')
  })
  return { child, lines: createInterface(child.stdout) }
}

async function kill({ child }: Appender): Promise<void> {
  child.kill('SIGKILL')
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
}

describe('an acknowledged append', () => {
  test('survives kill -9 again and again, and the streams continue after it', async () => {
    const file = join(await testFolder(), 'log.db')
    const acknowledged = new Map<string, string>()
    for (const enough of [1, 60, 500]) {
      const running = appender(file, 4, 300)
      const before = acknowledged.size
      for await (const line of running.lines) {
        const [stream, revision, id] = line.split(' ')
        // The last line may be cut off by the kill.
        if (id?.length === 36) acknowledged.set(`${stream}@${revision}`, id)
        if (acknowledged.size === before + enough) await kill(running)
      }
      expect(acknowledged.size).toBeGreaterThanOrEqual(before + enough)

      const store = await openStore(file)
      const stored = new Map<string, string>()
      for (const stream of ['stream-0', 'stream-1', 'stream-2', 'stream-3']) {
        const found = await store.readStream(stream, { from: 0, direction: 'forward', limit: 1 })
        if (found.isErr()) continue
        const events = await readAll(store, stream)
        expect(revisions(events)).toEqual(dense(0, events.length - 1))
        // Each append has two events: an append is there as a whole or not at all.
        expect(events.length % 2).toBe(0)
        for (const event of events) stored.set(`${stream}@${event.revision}`, event.id)
      }
      await store.close()
      for (const [place, id] of acknowledged) expect(stored.get(place), place).toBe(id)
    }
  })
})

describe('one process at a time', () => {
  test('a second process is refused; the file is free as soon as the first is killed', async () => {
    const file = join(await testFolder(), 'log.db')
    const first = appender(file, 0, 0)
    await once(first.lines, 'line')
    const { type, message } = await refusal(file)
    expect(type).toBe('store_failed')
    expect(message).toContain(file)
    expect(message).toContain('in use')
    await kill(first)
    const store = await openStore(file)
    const second = appender(file, 0, 0)
    const [line] = await once(second.lines, 'line')
    expect(line).toContain(`refused the event store ${file} is in use`)
    await append(store, 'mine', numbered(2))
    await store.close()
  })
})

describe('a full disk', () => {
  test('makes appends fail with the name of the file, reads still work, and nothing acknowledged is lost', async () => {
    const file = join(await testFolder(), 'log.db')
    // A limit on the size of files, in blocks of 512 or 1024 bytes, met with an error and not a signal.
    const running = appender(file, 2, 5000, "trap '' XFSZ; ulimit -f 2048")
    const acknowledged = new Map<string, number>([
      ['stream-0', 0],
      ['stream-1', 0],
    ])
    let failures = 0
    for await (const line of running.lines) {
      const [stream = '', revision, id, ...error] = line.split(' ')
      if (stream === 'failed') {
        failures += 1
        expect(Number(id)).toBeGreaterThanOrEqual(acknowledged.get(revision ?? '') ?? 0)
        expect(error.join(' ')).toContain('"store_failed"')
        expect(error.join(' ')).toContain(file)
        if (failures === 2) running.child.stdin?.end()
      } else if (id !== undefined) acknowledged.set(stream, Number(revision) + 1)
    }
    expect(failures).toBe(2)
    const store = await openStore(file)
    for (const [stream, count] of acknowledged) {
      const events = await readAll(store, stream)
      expect(events.length).toBeGreaterThanOrEqual(count)
      expect(revisions(events)).toEqual(dense(0, events.length - 1))
      expect(await append(store, stream, numbered(1), events.length - 1)).toBe(events.length)
    }
    await store.close()
  })
})
