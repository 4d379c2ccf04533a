import { createHash, createHmac } from 'node:crypto'
import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'

export const ACCESS_KEY = 'AKIDEXAMPLE'
export const SECRET_KEY = 'a-secret-of-the-stand-in'
export const BUCKET = 'outputs'

/**
 * A service that speaks the needed part of S3: it puts, gets and deletes objects of one bucket, and checks each signature
 * by the published rules, with code of its own.
 */
export class S3StandIn {
  readonly objects = new Map<string, Buffer>()
  /** Faulty answers to the next requests. */
  readonly failures: { readonly status: number; readonly code: string }[] = []
  readonly #server: Server

  private constructor() {
    this.#server = createServer(async (request, response) => {
      const body = await buffer(request)
      const { status, content } = this.#answer(request, body)
      response.writeHead(status, { 'content-length': content.length }).end(content)
    })
  }

  static async start(): Promise<S3StandIn> {
    const standIn = new S3StandIn()
    await new Promise<void>((resolve) => standIn.#server.listen(0, '127.0.0.1', resolve))
    return standIn
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    if (!this.#server.listening) return
    await new Promise((resolve) => this.#server.close(resolve))
  }

  #answer(request: IncomingMessage, body: Buffer): { status: number; content: Buffer } {
    const failure = this.failures.shift()
    if (failure !== undefined) return refusal(failure.status, failure.code)
    if (!isSigned(request, body)) return refusal(403, 'SignatureDoesNotMatch')
    const [, bucket, ...rest] = new URL(request.url ?? '', this.endpoint).pathname.split('/')
    const key = rest.join('/')
    if (bucket !== BUCKET) return refusal(404, 'NoSuchBucket')
    const object = this.objects.get(key)
    switch (request.method) {
      case 'PUT':
        this.objects.set(key, body)
        return { status: 200, content: Buffer.alloc(0) }
      case 'DELETE':
        this.objects.delete(key)
        return { status: 204, content: Buffer.alloc(0) }
      default:
        return object === undefined ? refusal(404, 'NoSuchKey') : { status: 200, content: object }
    }
  }
}

const refusal = (status: number, code: string) => ({
  status,
  content: Buffer.from(`<?xml version="1.0"?><Error><Code>${code}</Code></Error>`),
})

const hash = (content: string | Buffer) => createHash('sha256').update(content).digest('hex')
const sign = (key: string | Buffer, text: string) => createHmac('sha256', key).update(text).digest()

function isSigned({ method, url = '', headers }: IncomingMessage, body: Buffer): boolean {
  const parts =
    /Credential=([^/]+)\/(\d{8})\/([\w-]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=(\w{64})$/
  const [, id, day = '', region = '', names = '', signature] =
    parts.exec(headers.authorization ?? '') ?? []
  if (id !== ACCESS_KEY || headers['x-amz-content-sha256'] !== hash(body)) return false
  if (!names.split(';').includes('host')) return false
  const lines = names.split(';').map((name) => `${name}:${String(headers[name])}\n`)
  const request = `${method}\n${url}\n\n${lines.join('')}\n${names}\n${hash(body)}`
  const time = String(headers['x-amz-date'])
  const text = `AWS4-HMAC-SHA256\n${time}\n${day}/${region}/s3/aws4_request\n${hash(request)}`
  const dayKey = sign(`AWS4${SECRET_KEY}`, day)
  const key = sign(sign(sign(dayKey, region), 's3'), 'aws4_request')
  return time.startsWith(day) && sign(key, text).toString('hex') === signature
}
