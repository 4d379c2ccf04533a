import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Readable } from 'node:stream'
import { brotliDecompressSync, createBrotliDecompress, createGunzip, gunzipSync } from 'node:zlib'
import fastify from 'fastify'
import { describe, expect, onTestFinished } from 'vitest'
import { compressAnswers } from '../../../src/http/plugins/answers.ts'
import { CLAIM, iteration, type TestServer } from '../../support/server.ts'
import { test } from '../../support/test.ts'
import { within } from '../../support/within.ts'

type Headers = Readonly<Record<string, string>>

/** Without the headers that fetch adds, and without decoding anything. */
async function open(port: number, path: string, headers: Headers): Promise<IncomingMessage> {
  const sent = request({ port, path, headers, agent: false }).end()
  const [answer] = await within(once(sent, 'response'), () => 'an answer')
  return answer
}

async function get({ port }: Pick<TestServer, 'port'>, path: string, headers: Headers = {}) {
  const answer = await open(port, path, headers)
  const body = Buffer.concat(await answer.toArray())
  const { 'content-encoding': coding = 'identity' } = answer.headers
  return { status: answer.statusCode, headers: answer.headers, coding, body }
}

const DECODED: Readonly<Record<string, (body: Buffer) => Buffer>> = {
  gzip: (body) => gunzipSync(body),
  br: (body) => brotliDecompressSync(body),
  identity: (body) => body,
}

describe('answers', () => {
  const CASES = [
    { accepted: 'gzip, deflate, br, zstd', coding: 'br' },
    { accepted: 'br;q=0.5, gzip', coding: 'gzip' },
    { accepted: 'gzip;q=0, identity', coding: 'identity' },
    { accepted: 'deflate', coding: 'identity' },
    { accepted: '', coding: 'identity' },
  ]
  test('are sent in the coding that the client prefers', async ({ server }) => {
    const work = Array.from({ length: 10 }, () => iteration(false)).flat()
    const run = await server.createRun({}, CLAIM, ...work)
    for (const accept of ['application/json', 'application/x-ndjson']) {
      const path = `/api/runs/${run}/events?kinds=all`
      const plain = await get(server, path, { accept })
      expect(plain.body.length).toBeGreaterThan(4096)
      for (const { accepted, coding } of CASES) {
        const answer = await get(server, path, { accept, 'accept-encoding': accepted })
        expect([accept, accepted, answer.coding]).toEqual([accept, accepted, coding])
        expect(DECODED[coding]?.(answer.body).equals(plain.body)).toBe(true)
        const most = plain.body.length / (coding === 'identity' ? 1 : 3)
        expect(answer.body.length).toBeLessThanOrEqual(most)
        expect(answer.headers.vary).toBe('accept-encoding')
      }
    }
    const small = await get(server, '/health/live', { 'accept-encoding': 'br' })
    expect([small.coding, small.headers.vary]).toEqual(['identity', undefined])
  })

  test('that are live are sent as they are', async ({ server }) => {
    const run = await server.createRun()
    const accept = { accept: 'text/event-stream', 'accept-encoding': 'br, gzip' }
    const answer = await open(server.port, `/api/runs/${run}/events`, accept)
    expect(answer.headers['content-encoding']).toBeUndefined()
    answer.destroy()
  })
})

describe('a stream', () => {
  /** A server of one stream, whose lines are made by `lines`. */
  async function serve(lines: () => AsyncGenerator<string>): Promise<number> {
    const app = fastify()
    compressAnswers(app)
    app.get('/', (_request, reply) =>
      reply.type('application/x-ndjson').send(Readable.from(lines(), { objectMode: false })),
    )
    await app.listen({ host: '127.0.0.1', port: 0 })
    onTestFinished(() => app.close())
    return (app.server.address() as AddressInfo).port
  }
  const STREAMS = [
    ['gzip', createGunzip],
    ['br', createBrotliDecompress],
  ] as const

  test.for(STREAMS)('of %s has each line before the next is made', async ([coding, decoder]) => {
    const second = Promise.withResolvers<void>()
    const port = await serve(async function* () {
      yield 'the first\n'
      await second.promise
      yield 'the second\n'
    })
    const answer = await open(port, '/', { 'accept-encoding': coding })
    expect(answer.headers['content-encoding']).toBe(coding)
    const decoded = answer.pipe(decoder()).setEncoding('utf8')
    const [first] = await within(once(decoded, 'data'), () => 'the first line')
    expect(first).toBe('the first\n')
    second.resolve()
    expect(await within(decoded.toArray(), () => 'the end')).toEqual(['the second\n'])
  })

  test.for(STREAMS)('of %s that fails has no proper end', async ([coding, decoder]) => {
    const first = Promise.withResolvers<void>()
    const port = await serve(async function* () {
      yield 'the first\n'
      await first.promise
      throw new Error('the store is gone')
    })
    const answer = await open(port, '/', { 'accept-encoding': coding })
    const decoded = answer.pipe(decoder())
    answer.on('error', () => decoded.destroy(new Error('cut off')))
    await within(once(decoded, 'data'), () => 'the first line')
    first.resolve()
    await expect(within(decoded.toArray(), () => 'the end')).rejects.toThrow('cut off')
  })

  test('that fails before it begins is answered as a problem', async () => {
    // biome-ignore lint/correctness/useYield: it fails before that
    const port = await serve(async function* () {
      throw new Error('the store is gone')
    })
    const answer = await get({ port }, '/', { 'accept-encoding': 'gzip' })
    expect([answer.status, answer.coding]).toEqual([500, 'identity'])
    expect(JSON.parse(answer.body.toString())).toMatchObject({ message: 'the store is gone' })
  })

  test('waits for a slow client, and ends with it', async () => {
    const ended = Promise.withResolvers<void>()
    let made = 0
    const port = await serve(async function* () {
      try {
        for (; made < 20_000; made += 1) yield `${randomBytes(48 * 1024).toString('hex')}\n`
      } finally {
        ended.resolve()
      }
    })
    const answer = await open(port, '/', { 'accept-encoding': 'gzip' })
    // It reads nothing: the server fills the buffers of both sides, and stops.
    let before = -1
    while (made !== before) {
      before = made
      await new Promise((resolve) => setTimeout(resolve, 100))
    }
    expect(made).toBeLessThan(2_000)
    answer.destroy()
    await within(ended.promise, () => 'the end of the source')
  })
})
