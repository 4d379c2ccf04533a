import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { codeOf, ProblemDocument } from '../api/problems.ts'
import { jsonOr } from '../lib/json-or.ts'
import type { RequestError } from './errors.ts'
import { textOf } from './lines.ts'

type Request = {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Begins with a slash. */
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/** One REST call; `schema` describes the answer. */
type Call<T> = Request & { readonly schema: z.ZodType<T> }

type Answer<T> = {
  readonly value: T
  /** As it came; null if it was too long. */
  readonly text: string | null
  readonly headers: Headers
}

/** What every call takes. */
export type Signal = { readonly signal?: AbortSignal | undefined }
/** With a key, the same request can be sent again safely: it has its effect only once. */
export type Repeatable = Signal & { readonly idempotencyKey?: string | undefined }
export type Answered<T> = ResultAsync<T, RequestError>
export type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>

/** Makes REST calls to one server. Each path begins with a slash. */
export type Rest = {
  /** The whole answer, with its headers. */
  call<T>(call: Call<T>): Answered<Answer<T>>
  get<T>(path: string, schema: z.ZodType<T>, options?: Signal): Answered<T>
  send<T>(
    method: Exclude<Request['method'], 'GET'>,
    path: string,
    body: unknown,
    schema: z.ZodType<T>,
    options?: Repeatable,
  ): Answered<T>
  /** A body that is not JSON. Only its beginning must come in time: the caller reads it as it comes. */
  open(path: string, accept: string, options?: Signal): Answered<Bytes>
}

export function createRest(options: CallerOptions): Rest {
  const call = createCaller(options)
  const open = createOpener(options)
  return {
    call,
    get: (path, schema, { signal } = {}) =>
      call({ method: 'GET', path, schema, signal }).map(({ value }) => value),
    send: (method, path, body, schema, { idempotencyKey: key, signal } = {}) => {
      const headers = key === undefined ? {} : { 'idempotency-key': key }
      return call({ method, path, body, headers, schema, signal }).map(({ value }) => value)
    },
    open: (path, accept, { signal } = {}) => open({ path, accept, signal }),
  }
}

type CallerOptions = {
  readonly baseUrl: string
  readonly token: string | undefined
  readonly fetch: typeof fetch
  readonly requestMs: number
  /** The most bytes of an answer that are read. */
  readonly answerBytes: number
}

const createCaller =
  (options: CallerOptions): Rest['call'] =>
  ({ schema, ...request }) =>
    send(request, options, (response) => withText(response, options)).andThen((sent) =>
      readAnswer(sent, schema),
    )

/** As `Rest.open`. */
type Opener = (
  request: Pick<Request, 'path' | 'signal' | 'headers'> & { readonly accept: string },
) => Answered<Bytes>

export const createOpener =
  (options: CallerOptions): Opener =>
  ({ path, accept, headers, signal }) => {
    const request = { method: 'GET', path, headers: { accept, ...headers }, signal } as const
    return send(request, options, (response) =>
      response.ok ? { response, text: '' } : withText(response, options),
    ).andThen((sent) => {
      const { ok: good, body } = sent.response
      return good && body !== null
        ? ok(body)
        : readAnswer(sent, z.never()).map(({ value }) => value)
    })
  }

/** The text is null if it was longer than `answerBytes`. */
type Sent = { readonly response: Response; readonly text: string | null }

const withText = async (
  response: Response,
  { answerBytes }: Pick<CallerOptions, 'answerBytes'>,
): Promise<Sent> => ({ response, text: await textOf(response.body, answerBytes) })

/** @param read reads what must come within the time of a call */
function send(
  { method, path, body, headers, signal }: Request,
  { baseUrl, token, fetch, requestMs }: CallerOptions,
  read: (response: Response) => Sent | Promise<Sent>,
): ResultAsync<Sent, RequestError> {
  const patience = new AbortController()
  const timer = setTimeout(() => patience.abort(), requestMs)
  return ResultAsync.fromPromise(
    fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      body: body === undefined ? null : JSON.stringify(body),
      // The request is meant for this server: a redirect would send it to another one.
      redirect: 'manual',
      signal: signal === undefined ? patience.signal : AbortSignal.any([signal, patience.signal]),
    })
      .then(read)
      .finally(() => clearTimeout(timer)),
    (cause): RequestError => {
      if (signal?.aborted) return { type: 'aborted', message: 'The call was aborted.' }
      const why = patience.signal.aborted
        ? `no answer within ${requestMs / 1000} s`
        : withoutToken(reasonOf(cause), token)
      return { type: 'unreachable', message: `No server answers at ${baseUrl}: ${why}.` }
    },
  )
}

function readAnswer<T>(
  { response, text }: Sent,
  schema: z.ZodType<T>,
): Result<Answer<T>, RequestError> {
  const { ok: good, status, url, headers } = response
  if (isRedirect(response)) {
    const to = headers.get('location') ?? 'another address'
    const message = `${url} redirects to ${to}, and redirects are not followed. Use the address of the server itself.`
    return err({ type: 'not_understood', status, message })
  }
  const body = text === null ? undefined : jsonOr(text, undefined)
  const parsed = good ? schema.safeParse(body) : undefined
  if (parsed?.success) return ok({ value: parsed.data, text, headers })
  const problem = ProblemDocument.safeParse(body)
  const code = problem.success ? codeOf(problem.data.type) : null
  if (!good && problem.success && code !== null) {
    const { detail: message, errors = [] } = problem.data
    return err({ type: 'refused', code, status, message, errors })
  }
  const what = text === null ? ' and a response that is longer than this program reads' : ''
  const message = `${url} answers with status ${status}${what}, but not as a retrAI server of this version does.`
  return err({ type: 'not_understood', status, message })
}

const REDIRECTS: readonly number[] = [301, 302, 303, 307, 308]

/** A browser shows only that a response is a redirect, and neither status nor address. */
const isRedirect = ({ type, status }: Response): boolean =>
  type === 'opaqueredirect' || REDIRECTS.includes(status)

/** The error quotes a token that is not valid as a header. */
const withoutToken = (message: string, token: string | undefined): string =>
  token === undefined ? message : message.replaceAll(token, '[the token]')

/** In Node the cause of the error has the reason, in browsers the error itself. */
function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const { cause } = thrown
  if (!(cause instanceof Error)) return thrown.message
  if (cause.message !== '') return cause.message
  return 'code' in cause ? String(cause.code) : thrown.message
}

/** A query of the parameters that are set. */
export function queryOf(query: Readonly<Record<string, string | number | undefined>>): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined) search.set(name, String(value))
  }
  return search.size === 0 ? '' : `?${search}`
}

/** A parameter of the next page in a Link header such as `</api/runs?limit=2&cursor=…>; rel="next"`. */
export function cursorOf(link: string | null, parameter: string): string | null {
  const query = /<[^<>?]*\?([^<>]*)>; *rel="next"/.exec(link ?? '')?.[1]
  return query === undefined ? null : new URLSearchParams(query).get(parameter)
}

/** The path of a run, or of a part of it. @param what begins with a slash */
export const runPath = (runId: string, what = ''): string =>
  `/api/runs/${encodeURIComponent(runId)}${what}`
