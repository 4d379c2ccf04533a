import { err, ok, type Result, ResultAsync } from 'neverthrow'
import { z } from 'zod'
import type { RequestError } from './errors.ts'

/** One REST call; `schema` is what a good answer holds. */
export type Call<T> = {
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Begins with a slash. */
  readonly path: string
  readonly schema: z.ZodType<T>
  readonly body?: unknown
  readonly headers?: Readonly<Record<string, string>>
  readonly signal?: AbortSignal | undefined
}

export type Answer<T> = { readonly value: T; readonly headers: Headers }

/** Makes REST calls of one server. */
export type Caller = <T>(call: Call<T>) => ResultAsync<Answer<T>, RequestError>

type CallerOptions = {
  readonly baseUrl: string
  readonly token: string | undefined
  readonly fetch: typeof fetch
  readonly requestMs: number
}

export function createCaller(options: CallerOptions): Caller {
  return (call) => new ResultAsync(request(call, options))
}

async function request<T>(
  { method, path, schema, body, headers, signal }: Call<T>,
  { baseUrl, token, fetch, requestMs }: CallerOptions,
): Promise<Result<Answer<T>, RequestError>> {
  const timeout = AbortSignal.timeout(requestMs)
  const answered = await ResultAsync.fromPromise(
    fetch(`${baseUrl}${path}`, {
      method,
      headers: {
        accept: 'application/json',
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
        ...headers,
      },
      body: body === undefined ? null : JSON.stringify(body),
      signal: signal === undefined ? timeout : AbortSignal.any([signal, timeout]),
    }).then(async (response) => ({ response, text: await response.text() })),
    (cause): RequestError => {
      if (signal?.aborted) return { type: 'aborted', message: 'The call was aborted.' }
      const why = timeout.aborted ? `no answer within ${requestMs / 1000} s` : reasonOf(cause)
      return { type: 'unreachable', message: `No server answers at ${baseUrl}: ${why}.` }
    },
  )
  return answered.andThen(({ response, text }) => readAnswer(response, parseJson(text), schema))
}

const Problem = z.object({
  type: z.string().startsWith('urn:retrai:problem:'),
  detail: z.string(),
  errors: z.array(z.object({ field: z.string(), message: z.string() })).default([]),
})

function readAnswer<T>(
  { ok: good, status, url, headers }: Response,
  body: unknown,
  schema: z.ZodType<T>,
): Result<Answer<T>, RequestError> {
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
