import { Readable } from 'node:stream'
import fc from 'fast-check'
import { expect, test } from 'vitest'
import { processMask } from '../../src/log/masking.ts'
import { collectOutput } from '../../src/runner/collect-output.ts'
import { OutputQueue } from '../../src/runner/output-queue.ts'
import { FAKES, KEEPING, pem } from '../domain/mask/fakes.ts'

const endless = () => new Readable({ objectMode: true, read() {} })
const piece = (text: string) => ({ chunk: Buffer.from(text), gap: 0, isMuted: false })
const LIMITS = { maxTotalBytes: Number.POSITIVE_INFINITY, onTooMuch: () => {} }

function collected() {
  const stdout = endless()
  const stderr = endless()
  const output = collectOutput({ stdout, stderr }, 1000, {
    maxTotalBytes: 1000,
    onTooMuch: () => {},
  })
  const end = async (): Promise<string> => {
    stdout.push(null)
    stderr.push(null)
    await output.closed
    return output.both.text()
  }
  return { stdout, end }
}

const nextData = (stream: Readable): Promise<void> =>
  new Promise((resolve) => stream.once('data', () => resolve()))

test('small pieces of a possible secret are collected before they are checked again', async () => {
  const { stdout, end } = collected()
  for (const [crumb, isPaused] of [
    ['ey', false],
    ['J', true],
  ] as const) {
    const seen = nextData(stdout)
    stdout.push(piece(crumb))
    await seen
    expect(stdout.isPaused()).toBe(isPaused)
  }
  for (const crumb of 'of no importance') stdout.push(piece(crumb))
  expect(await end()).toBe('eyJof no importance')
})

test('after text that needs no waiting, reading continues at once', async () => {
  const { stdout, end } = collected()
  const seen = nextData(stdout)
  stdout.push(piece('a line\n'))
  await seen
  expect(stdout.isPaused()).toBe(false)
  expect(await end()).toBe('a line\n')
})

/** Lines of output, many with secrets; the longest keys have many lines. */
const line = fc.oneof(
  { weight: 120, arbitrary: fc.string({ maxLength: 200, unit: 'grapheme' }) },
  { weight: 30, arbitrary: fc.constantFrom(...Object.values(FAKES).flat()) },
  {
    weight: 15,
    arbitrary: fc.constantFrom(...KEEPING.map(([, kept, secret, rest]) => kept + secret + rest)),
  },
  { weight: 2, arbitrary: fc.constantFrom(pem('RSA ', 290), pem('RSA ', 290).slice(0, 12_000)) },
)
const MIB = 1024 * 1024
const DROPPED = /\n\[(\d+) bytes of output are dropped here\]\n/

/** Enough output to drop parts of it unseen, the sizes of the chunks that it comes in, and how often one is sent. */
const flood = fc.record({
  lines: fc.array(line, { minLength: 200, maxLength: 400 }),
  isOneLine: fc.boolean(),
  sizes: fc.array(fc.integer({ min: 8_000, max: 65_536 }), { minLength: 1, maxLength: 5 }),
  maxBytes: fc.integer({ min: 10, max: 100_000 }),
  sentEach: fc.integer({ min: 2, max: 60 }),
})

test('of a flood, what is kept is the beginning and the end of the whole masked text', async () => {
  await fc.assert(
    fc.asyncProperty(flood, async ({ lines, isOneLine, sizes, maxBytes, sentEach }) => {
      const once = `${lines.join(isOneLine ? ' ' : '\n')}\n`
      const bytes = Buffer.from(once.repeat(Math.ceil((2 * MIB) / once.length)))
      const streams = { stdout: endless(), stderr: endless() }
      const output = collectOutput(streams, maxBytes, LIMITS)
      const queue = new OutputQueue(Math.ceil(maxBytes / 2))
      for (let at = 0, n = 0; at < bytes.length; n += 1) {
        const chunk = bytes.subarray(at, at + (sizes[n % sizes.length] ?? 1))
        at += chunk.length
        for (const one of queue.push(0, chunk)) streams.stdout.push(one)
        const sent = n % sentEach === 0 ? queue.shift() : undefined
        if (sent !== undefined) streams.stdout.push(sent)
      }
      for (let one = queue.shift(); one !== undefined; one = queue.shift()) streams.stdout.push(one)
      streams.stdout.push(null)
      streams.stderr.push(null)
      await output.closed
      expect(output.bytes()).toBe(bytes.length)
      const whole = processMask.text(bytes.toString())
      for (const kept of [output.stdout.text(), output.both.text()]) {
        const [head = '', dropped, tail = ''] = kept.split(DROPPED)
        expect(whole.startsWith(head)).toBe(true)
        expect(whole.endsWith(tail)).toBe(true)
        expect(dropped === undefined).toBe(kept === whole)
        expect(Buffer.byteLength(head + tail)).toBeLessThanOrEqual(maxBytes)
        expect(dropped === undefined || tail !== '').toBe(true)
      }
    }),
    { numRuns: 12, endOnFailure: true },
  )
}, 120_000)

test('dropped output is counted, and what must not be shown is not shown', async () => {
  const streams = { stdout: endless(), stderr: endless() }
  const output = collectOutput(streams, 1000, LIMITS)
  streams.stdout.push(piece('first\n'))
  streams.stdout.push({ chunk: Buffer.from('the rest of a key\n'), gap: 100, isMuted: true })
  streams.stdout.push(piece('last but one\n'))
  streams.stderr.push(piece('last\n'))
  streams.stdout.push(null)
  streams.stderr.push(null)
  await output.closed
  expect(output.both.text()).toBe(
    'first\n\n[118 bytes of output are dropped here]\nlast but one\nlast\n',
  )
  expect(output.stderr.text()).toBe('last\n')
  expect(output.bytes()).toBe(142)
})

test('of two streams, neither loses its beginning, whichever is read first', () => {
  const lines = (name: string) => Buffer.from(`${name} of a stream\n`.repeat(4000))
  const queue = new OutputQueue(100_000)
  const sent = [lines('out'), lines('out')].flatMap((chunk) => queue.push(0, chunk))
  for (let n = 0; n < 40; n += 1) {
    sent.push(...queue.push(0, lines('out')), ...queue.push(1, lines(n === 0 ? 'first' : 'later')))
  }
  for (let one = queue.shift(); one !== undefined; one = queue.shift()) sent.push(one)
  const [first] = sent.filter(({ side }) => side === 1)
  expect(first).toMatchObject({ gap: 0, isMuted: false })
  expect(first?.chunk.toString()).toMatch(/^first of a stream\n/)
  expect(sent.some(({ side, gap }) => side === 1 && gap > 0)).toBe(true)
})
