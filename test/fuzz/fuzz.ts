import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import fc from 'fast-check'
import * as z from 'zod'
import { ApiDocument, type FuzzRequest, requests } from './requests.ts'

/** A client: without a token, or with a token of one role. */
export type Identity = { readonly name: string; readonly token: string | null }

export type FuzzOptions = {
  readonly url: string
  readonly identities: readonly Identity[]
  readonly seed: number
  /** Stops before the request of this index. */
  readonly isOver: (index: number) => boolean
}

export type FuzzReport = { readonly requests: number; readonly statuses: Record<string, number> }

const AT_ONCE = 2000

type Answer = {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/**
 * Sends requests that follow from the description of the API, and compares each answer with it.
 * @throws at the first answer that does not fit, with the seed, the index and the request
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { url, identities, seed, isOver } = options
  const document = ApiDocument.parse(await (await fetch(`${url}/openapi.json`)).json())
  const judge = new Judge(document)
  const all = requests(document, identities.length)
  const known: Known = { runs: [], tokens: [] }
  const statuses: Record<string, number> = {}
  let index = 0
  for (let part = 0; !isOver(index); part += 1) {
    const sampled = fc.sample(all, { numRuns: AT_ONCE, seed: seed + part })
    for (const made of sampled) {
      if (isOver(index)) break
      const request = filledIn(made, known, index)
      const identity = identities[made.identity]
      let answer: Answer = NO_ANSWER
      let problem: string | null = null
      try {
        answer = await send(request, identity?.token ?? null, url)
        problem = judge.problemOf(request, answer)
      } catch (error) {
        problem = `there is no answer: ${error}`
      }
      statuses[answer.status] = (statuses[answer.status] ?? 0) + 1
      if (problem !== null) {
        const { method, path, headers, body } = request
        const asked = JSON.stringify({ method, path, headers, body }).slice(0, 3000)
        const said = `${answer.status} ${answer.body.slice(0, 500)}`
        throw new Error(
          `seed ${seed}, request ${index} as ${identity?.name}: ${problem}\n${asked}\n${said}`,
        )
      }
      learn(known, made, answer)
      index += 1
    }
  }
  return { requests: index, statuses }
}

const NO_ANSWER: Answer = { status: 0, headers: {}, body: '' }

/** The ids in earlier answers. */
type Known = { readonly runs: string[]; readonly tokens: string[] }

function filledIn(request: FuzzRequest, { runs, tokens }: Known, index: number): FuzzRequest {
  const fill = (text: string): string =>
    text
      .replaceAll('{run}', runs[index % Math.max(1, runs.length)] ?? 'none')
      .replaceAll('{token}', tokens[index % Math.max(1, tokens.length)] ?? 'none')
  const body = request.body === undefined ? undefined : fill(request.body)
  return { ...request, path: fill(request.path), body }
}

const Created = z.object({ run_id: z.string() })
const Made = z.object({ id: z.string() })

function learn(known: Known, { operation: { operationId } }: FuzzRequest, answer: Answer): void {
  if (answer.status !== 201) return
  if (operationId === 'createRun') known.runs.push(Created.parse(JSON.parse(answer.body)).run_id)
  if (operationId === 'createToken') known.tokens.push(Made.parse(JSON.parse(answer.body)).id)
}

/** A stream of events has no end, so it is read for this time, milliseconds. */
const LOOK_MS = 100

function send(request: FuzzRequest, token: string | null, url: string): Promise<Answer> {
  const { method, path, body } = request
  const authorization = token === null ? {} : { authorization: `Bearer ${token}` }
  const length = body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }
  const headers: Record<string, string | number> = {
    ...authorization,
    ...length,
    ...request.headers,
  }
  if (headers.upgrade !== undefined) Object.assign(headers, { connection: 'Upgrade' }, HANDSHAKE)
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const asked = httpRequest({ hostname, port, method, path, headers, agent: false })
    const done = (status: number, headers: IncomingHttpHeaders, chunks: readonly Buffer[]) =>
      resolve({ status, headers, body: Buffer.concat(chunks).toString() })
    asked.on('upgrade', ({ statusCode = 0, headers }, socket) => {
      socket.destroy()
      done(statusCode, headers, [])
    })
    asked.on('response', (response) => {
      const { statusCode = 0, headers } = response
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => done(statusCode, headers, chunks))
      response.on('error', reject)
      if (String(headers['content-type']).startsWith('text/event-stream')) {
        response.removeAllListeners('error').on('error', () => {})
        setTimeout(() => {
          response.destroy()
          resolve({ status: statusCode, headers, body: '' })
        }, LOOK_MS)
      }
    })
    asked.on('error', reject)
    asked.end(body)
  })
}

const HANDSHAKE = {
  'sec-websocket-version': '13',
  'sec-websocket-key': 'AAAAAAAAAAAAAAAAAAAAAA==',
} as const

const ALWAYS = [
  'x-content-type-options',
  'x-frame-options',
  'referrer-policy',
  'content-security-policy',
  'cross-origin-resource-policy',
] as const

/** Nothing damages the store here, so no other answer may be a failure. */
const NO_FAILURE = /urn:retrai:problem:(redaction_pending|not_projected|too_many_sockets|busy)"/

/** Compares answers with the description. */
class Judge {
  readonly #definitions: ApiDocument['components']['schemas']
  readonly #schemas = new Map<string, z.ZodType>()

  constructor(document: ApiDocument) {
    this.#definitions = withinSchema(document.components.schemas)
  }

  /** What is wrong with an answer, or null. */
  problemOf(
    { operation, headers }: FuzzRequest,
    { status, headers: sent, body }: Answer,
  ): string | null {
    const missing = status === 101 ? undefined : ALWAYS.find((name) => sent[name] === undefined)
    if (missing !== undefined) return `the answer has no header ${missing}`
    const isHealth = operation.operationId === 'ready'
    if (status >= 500 && !isHealth && !NO_FAILURE.test(body)) return 'the server fails'
    const { [status]: own, default: ofProblems } = operation.responses
    const response = own ?? (status >= 400 ? ofProblems : undefined)
    if (response === undefined) return `the status ${status} is not declared`
    if (body === '' || headers.upgrade !== undefined) return null
    const [type = ''] = String(sent['content-type']).split(';')
    const media = response.content?.[type]
    if (media === undefined) return `${type} is not declared for ${status}`
    if (!/[/+]json$/.test(type) || media.schema === undefined) return null
    const fits = this.#schema(`${operation.operationId} ${status} ${type}`, media.schema)
    const { error } = fits.safeParse(JSON.parse(body))
    return error === undefined ? null : `the body does not fit: ${z.prettifyError(error)}`
  }

  #schema(name: string, schema: Readonly<Record<string, unknown>>): z.ZodType {
    const known = this.#schemas.get(name)
    if (known !== undefined) return known
    const made = z.fromJSONSchema({ ...withinSchema(schema), $defs: this.#definitions })
    this.#schemas.set(name, made)
    return made
  }
}

/** Schemas of the description, which name each other as JSON Schema does within one schema. */
const withinSchema = <T>(schemas: T): T =>
  JSON.parse(JSON.stringify(schemas).replaceAll('#/components/schemas/', '#/$defs/'))
