import { err, ok, type Result, ResultAsync } from 'neverthrow'
import * as z from 'zod'
import { codeOf, ProblemDocument } from '../api/problems.ts'
import { jsonOr } from '../lib/json.ts'
import { textOf } from './lines.ts'

/** Why a call failed. `message` is for a person. */
export type RequestError =
  /** There was no answer. The server may or may not have done what was asked. */
  | { readonly type: 'unreachable'; readonly message: string }
  /** The server refused, and did nothing. */
  | {
      readonly type: 'refused'
      /** The end of the problem's type, `urn:retrai:problem:<code>`; /docs lists them. */
      readonly code: string
      /** The HTTP status. */
      readonly status: number
      readonly message: string
      /** What is wrong with which field of the request. */
      readonly errors: readonly { readonly field: string; readonly message: string }[]
    }
  /** Something answered, but not as a retrAI server does. */
  | { readonly type: 'not_understood'; readonly status: number; readonly message: string }
  /** The signal of the call was aborted. */
  | { readonly type: 'aborted'; readonly message: string }

/** How long a client waits, and how much it buffers. */
export type ClientLimits = {
  /** A call without an answer fails after this time, milliseconds. */
  readonly requestMs: number
  /** A connection that does not open within this time fails, milliseconds. */
  readonly connectMs: number
  /**
   * If nothing comes for one to two times this long, the client connects again, milliseconds: a browser does not
   * report that its server is gone.
   */
  readonly silenceMs: number
  /** The pause before connecting again, milliseconds: it doubles from the first to the second. */
  readonly retryMs: readonly [first: number, longest: number]
  /**
   * How much is buffered for a consumer that is slower than the server, in characters of JSON. If more comes, the
   * client gives up the connection, and connects again after the consumer has taken everything.
   */
  readonly bufferChars: number
  /** The most bytes of one answer, or of one line of a stream: a server may send without end. */
  readonly answerBytes: number
}

export const CLIENT_LIMITS: ClientLimits = {
  requestMs: 30_000,
  connectMs: 10_000,
  silenceMs: 60_000,
  retryMs: [250, 10_000],
  bufferChars: 4 * 1024 * 1024,
  answerBytes: 128 * 1024 * 1024,
}

type Request = {
  readonly method: 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE'
  /** Begins with a slash. */
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
  /** How much longer than other calls it may take, milliseconds. */
  readonly moreMs?: number | undefined
}

/** One REST call; `schema` describes the answer. */
type Call<T> = Request & { readonly schema: z.ZodType<T> }

type Answer<T> = { readonly value: T; readonly headers: Headers }

/** What every call takes. */
export type Signal = { readonly signal?: AbortSignal | undefined }
/** With a key, the same request can be sent again safely: it has its effect only once. */
export type Repeatable = Signal & { readonly idempotencyKey?: string | undefined }
export type Answered<T> = ResultAsync<T, RequestError>
export type Bytes = ReadableStream<Uint8Array<ArrayBuffer>>

/** Makes REST calls to one server. Each path begins with a slash. */
export type Rest = ReturnType<typeof createRest>

export function createRest(options: CallerOptions) {
  const call = <T>({ schema, ...request }: Call<T>): Answered<Answer<T>> =>
    send(request, options, (response) => withText(response, options)).andThen((sent) =>
      readAnswer(sent, schema),
    )
  return {
    /** The whole answer, with its headers. */
    call,
    get: <T>(path: string, schema: z.ZodType<T>, { signal }: Signal = {}): Answered<T> =>
      call({ method: 'GET', path, schema, signal }).map(({ value }) => value),
    send: <T>(
      method: Exclude<Request['method'], 'GET'>,
      path: string,
      body: unknown,
      schema: z.ZodType<T>,
      { idempotencyKey: key, signal, moreMs }: Repeatable & Pick<Request, 'moreMs'> = {},
    ): Answered<T> => {
      const headers = key === undefined ? {} : { 'idempotency-key': key }
      return call({ method, path, body, headers, schema, signal, moreMs }).map(({ value }) => value)
    },
    /** A body that is not JSON. Only its beginning must come in time: the caller reads it as it comes. */
    open: (path: string, accept: string, { signal }: Signal = {}): Answered<Bytes> =>
      send({ method: 'GET', path, headers: { accept }, signal }, options, (response) =>
        response.ok ? { response, text: '' } : withText(response, options),
      ).andThen((sent) => {
        const { ok: good, body } = sent.response
        return good && body !== null
          ? ok(body)
          : readAnswer(sent, z.never()).map(({ value }) => value)
      }),
  }
}

type CallerOptions = {
  readonly baseUrl: string
  readonly token: string | undefined
  readonly fetch: typeof fetch
  readonly requestMs: number
  /** The most bytes of an answer that are read. */
  readonly answerBytes: number
  /** Of every request. */
  readonly headers?: Readonly<Record<string, string>>
}

/** The text is null if it was longer than `answerBytes`. */
type Sent = { readonly response: Response; readonly text: string | null }

const withText = async (
  response: Response,
  { answerBytes }: Pick<CallerOptions, 'answerBytes'>,
): Promise<Sent> => ({ response, text: await textOf(response.body, answerBytes) })

/** @param read reads what must come within the time of a call */
function send(
  { method, path, body, headers, signal, moreMs = 0 }: Request,
  { baseUrl, token, fetch, headers: always, ...options }: CallerOptions,
  read: (response: Response) => Sent | Promise<Sent>,
): ResultAsync<Sent, RequestError> {
  const patience = new AbortController()
  const requestMs = options.requestMs + moreMs
  const timer = setTimeout(() => patience.abort(), requestMs)
  return ResultAsync.fromPromise(
    fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...always,
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
  if (parsed?.success) return ok({ value: parsed.data, headers })
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

/** A browser shows only that a response is a redirect, and neither status nor address. */
const isRedirect = ({ type, status }: Response): boolean =>
  type === 'opaqueredirect' || (status >= 300 && status < 400)

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

type QueryValue = string | number | boolean

/** A query of the parameters that are set. One that is false is left out. */
export function queryOf(
  query: Readonly<Record<string, QueryValue | readonly string[] | undefined>>,
): string {
  const search = new URLSearchParams()
  for (const [name, value] of Object.entries(query)) {
    for (const each of Array.isArray(value) ? value : [value]) {
      if (each !== undefined && each !== false) search.append(name, String(each))
    }
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
