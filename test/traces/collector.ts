import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A span as a collector reads it. */
export type ReceivedSpan = {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId: string | null
  readonly name: string
  readonly kind: number
  /** Nanoseconds since the epoch. */
  readonly from: bigint
  readonly to: bigint
  readonly attributes: Readonly<Record<string, string | number>>
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[]
  readonly isError: boolean
  readonly schemaUrl: string
}

/** A stand-in for a collector of traces: it reads OTLP over HTTP by the wire format of protobuf alone. */
export class Collector {
  /** In the order in which they came. */
  readonly spans: ReceivedSpan[] = []
  /** What it answers. */
  status = 200
  requests = 0
  readonly #server = createServer(async (request, response) => {
    this.requests += 1
    const body = Buffer.concat(await request.toArray())
    const isTraces = request.method === 'POST' && request.url === '/v1/traces'
    const type = request.headers['content-type']
    if (!isTraces || type !== 'application/x-protobuf') response.statusCode = 404
    else if (this.status === 200) this.spans.push(...spansOf(body))
    if (response.statusCode === 200) response.statusCode = this.status
    response.end()
  })

  static async start(): Promise<Collector> {
    const collector = new Collector()
    await once(collector.#server.listen(0, '127.0.0.1'), 'listening')
    return collector
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}

type Field = bigint | Buffer

/** The fields of a message, by their numbers. */
function fieldsOf(message: Buffer): ReadonlyMap<number, Field[]> {
  const fields = new Map<number, Field[]>()
  let at = 0
  const varint = (): bigint => {
    for (let value = 0n, shift = 0n; ; shift += 7n) {
      const byte = message.readUInt8(at++)
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return value
    }
  }
  const sized = (bytes: number): Buffer => {
    at += bytes
    if (at > message.length) throw new RangeError('a field ends after its message')
    return message.subarray(at - bytes, at)
  }
  const WIRE = [varint, () => sized(8).readBigUInt64LE(), () => sized(Number(varint()))]
  while (at < message.length) {
    const tag = Number(varint())
    const read = (tag & 7) === 5 ? () => BigInt(sized(4).readUInt32LE()) : WIRE[tag & 7]
    if (read === undefined) throw new RangeError(`an unknown wire type ${tag & 7}`)
    fields.set(tag >> 3, [...(fields.get(tag >> 3) ?? []), read()])
  }
  return fields
}

const messages = (fields: ReturnType<typeof fieldsOf>, number: number): Buffer[] =>
  (fields.get(number) ?? []).filter((field) => Buffer.isBuffer(field))
const text = (fields: ReturnType<typeof fieldsOf>, number: number): string =>
  messages(fields, number).join('')
const hex = (fields: ReturnType<typeof fieldsOf>, number: number): string =>
  messages(fields, number)[0]?.toString('hex') ?? ''
const integer = (fields: ReturnType<typeof fieldsOf>, number: number): bigint => {
  const [value] = fields.get(number) ?? []
  return typeof value === 'bigint' ? value : 0n
}

/** Of an ExportTraceServiceRequest. */
function spansOf(body: Buffer): ReceivedSpan[] {
  const scopes = messages(fieldsOf(body), 1).flatMap((resource) => messages(fieldsOf(resource), 2))
  return scopes.map(fieldsOf).flatMap((scope) =>
    messages(scope, 2)
      .map(fieldsOf)
      .map((span) => ({
        traceId: hex(span, 1),
        spanId: hex(span, 2),
        parentSpanId: hex(span, 4) || null,
        name: text(span, 5),
        kind: Number(integer(span, 6)),
        from: integer(span, 7),
        to: integer(span, 8),
        attributes: Object.fromEntries(messages(span, 9).map(attributeOf)),
        links: messages(span, 13)
          .map(fieldsOf)
          .map((link) => ({
            traceId: hex(link, 1),
            spanId: hex(link, 2),
          })),
        isError: messages(span, 15).some((status) => integer(fieldsOf(status), 3) === 2n),
        schemaUrl: text(scope, 3),
      })),
  )
}

function attributeOf(keyValue: Buffer): [string, string | number] {
  const pair = fieldsOf(keyValue)
  const value = fieldsOf(messages(pair, 2)[0] ?? Buffer.alloc(0))
  return [text(pair, 1), value.has(1) ? text(value, 1) : Number(integer(value, 3))]
}
