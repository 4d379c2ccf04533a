import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { z } from 'zod'
import type { RequestError } from './errors.ts'

type Request = {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Begins with a slash. */
  readonly path: string
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

/** One REST call; `schema` is what a good answer holds. */
export type Call<T> = Request & { readonly schema: z.ZodType<T> }

export type Answer<T> = { readonly value: T; readonly headers: Headers }

/** Makes REST calls of one server. */
export type Caller = <T>(call: Call<T>) => ResultAsync<Answer<T>, RequestError>

/** What every call takes. */
export type Signal = { readonly signal?: AbortSignal | undefined }
export type Answered<T> = ResultAsync<T, RequestError>

/** The value that a GET is answered with. @param path begins with a slash */
export type Getter = <T>(path: string, schema: z.ZodType<T>, options?: Signal) => Answered<T>

export const createGetter =
  (call: Caller): Getter =>
  (path, schema, { signal } = {}) =>
    call({ method: 'GET', path, schema, signal }).map(({ value }) => value)

type CallerOptions = {
  readonly baseUrl: string
  readonly token: string | undefined
  readonly fetch: typeof fetch
  readonly requestMs: number
}

export const createCaller =
  (options: CallerOptions): Caller =>
  ({ schema, ...request }) =>
    send(request, options, withText).andThen((sent) => readAnswer(sent, schema))

/** Opens what is no JSON. Only its beginning has to come in time: whoever asks reads it, as it comes. */
export type Opener = (
  request: Pick<Request, 'path' | 'signal'> & { readonly accept: string },
) => ResultAsync<ReadableStream<Uint8Array<ArrayBuffer>>, RequestError>

export const createOpener =
  (options: CallerOptions): Opener =>
  ({ path, accept, signal }) => {
    const request = { method: 'GET', path, headers: { accept }, signal } as const
    return send(request, options, (response) =>
      response.ok ? { response, text: '' } : withText(response),
    ).andThen((sent) => {
      const { ok: good, body } = sent.response
      return good && body !== null
        ? ok(body)
        : readAnswer(sent, z.never()).map(({ value }) => value)
    })
  }

type Sent = { readonly response: Response; readonly text: string }

const withText = async (response: Response): Promise<Sent> => ({
  response,
  text: await response.text(),
})

/** @param read what has to be there within the time of a call */
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
      signal: signal === undefined ? patience.signal : AbortSignal.any([signal, patience.signal]),
    })
      .then(read)
      .finally(() => clearTimeout(timer)),
    (cause): RequestError => {
      if (signal?.aborted) return { type: 'aborted', message: 'The call was aborted.' }
      const why = patience.signal.aborted
        ? `no answer within ${requestMs / 1000} s`
        : reasonOf(cause)
      return { type: 'unreachable', message: `No server answers at ${baseUrl}: ${why}.` }
    },
  )
}

const Problem = z.object({
  type: z.string().startsWith('urn:retrai:problem:'),
  detail: z.string(),
  errors: z.array(z.object({ field: z.string(), message: z.string() })).default([]),
})

function readAnswer<T>(
  { response: { ok: good, status, url, headers }, text }: Sent,
  schema: z.ZodType<T>,
): Result<Answer<T>, RequestError> {
  const body = parseJson(text)
  const parsed = good ? schema.safeParse(body) : undefined
  if (parsed?.success) return ok({ value: parsed.data, headers })
  const problem = Problem.safeParse(body)
  if (!good && problem.success) {
    const { type, detail: message, errors } = problem.data
    const code = type.slice(type.lastIndexOf(':') + 1)
    return err({ type: 'refused', code, status, message, errors })
  }
  const message = `${url} answers with status ${status}, but not as a retrAI server of this version does.`
  return err({ type: 'not_understood', status, message })
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/** Node says what happened in the cause of the error, browsers only in the error. */
function reasonOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const { cause } = thrown
  if (!(cause instanceof Error)) return thrown.message
  if (cause.message !== '') return cause.message
  return 'code' in cause ? String(cause.code) : thrown.message
}
