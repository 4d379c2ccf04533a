import { createHash, createPublicKey, generateKeyPairSync, sign, verify } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text as textOf } from 'node:stream/consumers'

/**
 * A witness that was written from C2SP tlog-witness, tlog-cosignature, tlog-checkpoint and signed-note, and from RFC 9162
 * for the proofs. It shares nothing with the code that it tests.
 */

type Answer = { readonly status: number; readonly body: string; readonly type?: string }
type Seen = { readonly size: number; readonly root: Buffer; readonly note: string }

const sha256 = (...parts: (string | Buffer)[]): Buffer => {
  const hash = createHash('sha256')
  for (const part of parts) hash.update(part)
  return hash.digest()
}
const DER = Buffer.from('302a300506032b6570032100', 'hex')

/** A line of a key: its name, its id and what verifies its signatures. */
export function readKey(line: string) {
  const [name = '', id = '', ...rest] = line.trim().split('+')
  const typed = Buffer.from(rest.join('+'), 'base64')
  const raw = typed.subarray(1)
  const expected = sha256(`${name}\n`, typed).subarray(0, 4).toString('hex')
  if (expected !== id || raw.length !== 32) throw new Error(`not a key: ${line}`)
  const key = createPublicKey({ key: Buffer.concat([DER, raw]), type: 'spki', format: 'der' })
  return { name, id, type: typed[0], key }
}

/** The text of a note and its signatures. */
export function openNote(note: string) {
  const end = note.lastIndexOf('\n\n')
  if (end === -1 || !note.endsWith('\n')) throw new Error(`no note: ${note}`)
  const text = note.slice(0, end + 1)
  const signatures = note
    .slice(end + 2, -1)
    .split('\n')
    .map((line) => {
      const [dash, name = '', data = ''] = line.split(' ')
      if (dash !== '—') throw new Error(`no signature: ${line}`)
      const bytes = Buffer.from(data, 'base64')
      return { name, id: bytes.subarray(0, 4).toString('hex'), bytes: bytes.subarray(4), line }
    })
  const [origin = '', size = '', root = ''] = text.split('\n')
  return { text, signatures, origin, size: Number(size), root: Buffer.from(root, 'base64') }
}

/** How often the key has signed the note, and whether all of that is good. */
export function signaturesBy(note: string, keyLine: string) {
  const { text, signatures } = openNote(note)
  const { name, id, type, key } = readKey(keyLine)
  const own = signatures.filter((each) => each.name === name && each.id === id)
  const good = own.filter(({ bytes }) => {
    if (type === 1) return verify(null, Buffer.from(text), key, bytes)
    const message = `cosignature/v1\ntime ${bytes.readBigUInt64BE()}\n${text}`
    return verify(null, Buffer.from(message), key, bytes.subarray(8))
  })
  return { count: own.length, good: own.length > 0 && good.length === own.length }
}

/** RFC 9162, 2.1.4.2. */
function proves(first: Seen, second: { size: number; root: Buffer }, path: Buffer[]): boolean {
  if (first.size === second.size) return path.length === 0 && first.root.equals(second.root)
  if (path.length === 0) return false
  const isPower = (first.size & (first.size - 1)) === 0
  const [start = first.root, ...rest] = isPower ? [first.root, ...path] : path
  let fn = first.size - 1
  let sn = second.size - 1
  while (fn & 1) [fn, sn] = [fn >> 1, sn >> 1]
  let fr = start
  let sr = start
  const node = (left: Buffer, right: Buffer) => sha256(Buffer.of(1), left, right)
  for (const c of rest) {
    if (sn === 0) return false
    if (fn & 1 || fn === sn) {
      ;[fr, sr] = [node(c, fr), node(c, sr)]
      while (!(fn & 1) && fn !== 0) [fn, sn] = [fn >> 1, sn >> 1]
    } else sr = node(sr, c)
    ;[fn, sn] = [fn >> 1, sn >> 1]
  }
  return sn === 0 && fr.equals(first.root) && sr.equals(second.root)
}

export class SpecWitness {
  readonly #keys = generateKeyPairSync('ed25519')
  readonly #server: Server
  readonly seen = new Map<string, Seen>()
  /** Keys of logs. */
  logs: string[] = []
  /** Answers in place of the honest one, if it returns one. */
  lie: (honest: () => Answer) => Answer | Promise<Answer> = (honest) => honest()
  requests = 0
  signed = 0
  /** The origins that were shown with a tree that does not begin with the one before. */
  readonly inconsistent: string[] = []
  readonly name: string
  url = ''

  private constructor(name: string, server: Server) {
    this.name = name
    this.#server = server
  }

  static async open(name = 'witness.example/w1', port = 0): Promise<SpecWitness> {
    const server = createServer()
    const witness = new SpecWitness(name, server)
    server.on('request', async (request, response) => {
      witness.requests += 1
      const body = await textOf(request)
      const {
        status,
        body: answer,
        type = 'text/plain',
      } = await witness.lie(() =>
        request.method === 'POST' && request.url === '/add-checkpoint'
          ? witness.#add(body)
          : { status: 404, body: 'no' },
      )
      response.writeHead(status, { 'content-type': type }).end(answer)
    })
    await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
    witness.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    return witness
  }

  get key(): string {
    const raw = this.#keys.publicKey.export({ type: 'spki', format: 'der' }).subarray(12)
    const typed = Buffer.concat([Buffer.of(4), raw])
    const id = sha256(`${this.name}\n`, typed).subarray(0, 4).toString('hex')
    return `${this.name}+${id}+${typed.toString('base64')}`
  }

  #add(body: string): Answer {
    const lines = body.slice(0, body.indexOf('\n\n')).split('\n')
    const [, oldText] = /^old (0|[1-9][0-9]*)$/.exec(lines[0] ?? '') ?? []
    if (oldText === undefined || lines.length > 64) return { status: 400, body: 'no request' }
    const old = Number(oldText)
    const path = lines.slice(1).map((line) => Buffer.from(line, 'base64'))
    const note = body.slice(body.indexOf('\n\n') + 2)
    const { origin, size, root, text } = openNote(note)
    const logs = this.logs.filter((line) => readKey(line).name === origin)
    if (logs.length === 0) return { status: 404, body: 'unknown log' }
    const signed = logs.map((line) => signaturesBy(note, line))
    if (!signed.some(({ good }) => good) || signed.some(({ count, good }) => count > 0 && !good)) {
      return { status: 403, body: 'no good signature' }
    }
    if (old > size) return { status: 400, body: 'old is larger' }
    const before = this.seen.get(origin)
    if (old !== (before?.size ?? 0)) {
      return { status: 409, body: `${before?.size ?? 0}\n`, type: 'text/x.tlog.size' }
    }
    const isProved = before === undefined ? path.length === 0 : proves(before, { size, root }, path)
    if (!isProved) {
      this.inconsistent.push(origin)
      return { status: 422, body: 'not consistent' }
    }
    this.signed += 1
    this.seen.set(origin, { size, root, note })
    return { status: 200, body: this.cosign(text) }
  }

  cosign(text: string, at = Math.floor(Date.now() / 1000)): string {
    const message = `cosignature/v1\ntime ${at}\n${text}`
    const time = Buffer.alloc(8)
    time.writeBigUInt64BE(BigInt(at))
    const signature = sign(null, Buffer.from(message), this.#keys.privateKey)
    const id = Buffer.from(this.key.split('+')[1] ?? '', 'hex')
    return `— ${this.name} ${Buffer.concat([id, time, signature]).toString('base64')}\n`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
  }
}
