import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { buffer } from 'node:stream/consumers'
import { promisify } from 'node:util'

const run = promisify(execFile)

const CONFIG = `
[req]
distinguished_name = name
[name]
[ca]
basicConstraints = critical,CA:TRUE
[stamping]
extendedKeyUsage = critical,timeStamping
[signing]
extendedKeyUsage = critical,codeSigning
[tsa]
default_tsa = own
[own]
serial = serial
signer_cert = stamping.pem
signer_key = signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
`

/** An authority for time stamps (RFC 3161) of openssl, reached over HTTP. */
export class TestAuthority {
  readonly #dir: string
  readonly #server: Server
  readonly ca: string
  requests = 0
  /** When they came. */
  readonly times: number[] = []
  /** What it answers in place of `honest`. */
  lie: ((honest: () => Promise<Buffer>, query: Buffer) => Promise<Buffer | number>) | null = null

  private constructor(dir: string, ca: string) {
    this.#dir = dir
    this.ca = ca
    this.#server = createServer(async (request, reply) => {
      this.requests += 1
      this.times.push(performance.now())
      const query = await buffer(request)
      const honest = () => this.stamp(query)
      const answer = await (this.lie?.(honest, query) ?? honest())
      if (typeof answer === 'number') reply.writeHead(answer).end()
      else reply.setHeader('content-type', 'application/timestamp-reply').end(answer)
    })
  }

  static async open(): Promise<TestAuthority> {
    const dir = await mkdtemp(join(tmpdir(), 'retrai-tsa-'))
    const openssl = (...args: string[]) => run('openssl', args, { cwd: dir })
    await writeFile(join(dir, 'config'), CONFIG)
    await writeFile(join(dir, 'serial'), '01\n')
    const key = ['-newkey', 'rsa:2048', '-nodes', '-config', 'config']
    const root = ['-x509', '-subj', '/CN=Test root', '-extensions', 'ca', '-days', '30']
    await openssl('req', ...key, ...root, '-keyout', 'ca.key', '-out', 'ca.pem')
    await openssl('req', ...key, '-subj', '/CN=Test clock', '-keyout', 'signer.key', '-out', 'csr')
    const made = new TestAuthority(dir, await readFile(join(dir, 'ca.pem'), 'utf8'))
    for (const usage of ['stamping', 'signing']) {
      const by = ['-req', '-in', 'csr', '-CA', 'ca.pem', '-CAkey', 'ca.key', '-days', '30']
      const of = ['-extfile', 'config', '-extensions', usage, '-out', `${usage}.pem`]
      await openssl('x509', ...by, ...of)
    }
    await new Promise<void>((resolve) => made.#server.listen(0, '127.0.0.1', resolve))
    return made
  }

  get url(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}/tsa`
  }

  async stamp(query: Buffer): Promise<Buffer> {
    await writeFile(join(this.#dir, 'query'), query)
    const options = ['-reply', '-queryfile', 'query', '-config', 'config', '-section', 'own']
    await run('openssl', ['ts', ...options, '-out', 'reply'], { cwd: this.#dir })
    return readFile(join(this.#dir, 'reply'))
  }

  /** With a certificate that is for something else. */
  async forge(query: Buffer): Promise<Buffer> {
    await this.stamp(query)
    const openssl = (...args: string[]) => run('openssl', args, { cwd: this.#dir })
    await openssl('ts', '-reply', '-in', 'reply', '-token_out', '-out', 'token')
    await openssl('cms', '-verify', '-noverify', '-in', 'token', '-inform', 'DER', '-out', 'info')
    const as = ['-econtent_type', '1.2.840.113549.1.9.16.1.4', '-nodetach', '-outform', 'DER']
    const by = ['-signer', 'signing.pem', '-inkey', 'signer.key', '-binary', '-md', 'sha256']
    await openssl('cms', '-sign', '-in', 'info', ...as, ...by, '-out', 'forged')
    const content = Buffer.concat([
      Buffer.from('3003020100', 'hex'),
      await readFile(join(this.#dir, 'forged')),
    ])
    const header = Buffer.from([0x30, 0x82, content.length >> 8, content.length & 255])
    return Buffer.concat([header, content])
  }

  /** What openssl asks for a text. */
  async query(text: string): Promise<Buffer> {
    await writeFile(join(this.#dir, 'data'), text)
    const options = ['-query', '-data', 'data', '-sha256', '-cert', '-out', 'query']
    await run('openssl', ['ts', ...options], { cwd: this.#dir })
    return readFile(join(this.#dir, 'query'))
  }

  /** Whether openssl accepts a token over a text. */
  async accepts(text: string, token: Buffer): Promise<boolean> {
    await writeFile(join(this.#dir, 'text'), text)
    await writeFile(join(this.#dir, 'token'), token)
    const options = ['-verify', '-data', 'text', '-in', 'token', '-token_in', '-CAfile', 'ca.pem']
    const verified = run('openssl', ['ts', ...options], { cwd: this.#dir })
    return verified.then(
      ({ stdout }) => stdout.includes('Verification: OK'),
      () => false,
    )
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    await new Promise((resolve) => this.#server.close(resolve))
    await rm(this.#dir, { recursive: true, force: true })
  }
}
