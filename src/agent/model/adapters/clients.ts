import { HttpStatusError } from '../adapter.ts'
import { patientFetch } from '../patient-fetch.ts'
import { parseJson } from '../reply-parts.ts'
import type { Endpoint } from '../routing.ts'

/**
 * Sends a body to an endpoint that has no SDK here.
 * @throws HttpStatusError if the status of the response is not a success
 */
export async function postJson(
  url: string,
  body: object,
  headers: Readonly<Record<string, string>>,
  signal: AbortSignal,
): Promise<Response> {
  const response = await patientFetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', ...headers },
    body: JSON.stringify(body),
    signal,
  })
  if (response.ok) return response
  const text = await response.text()
  throw new HttpStatusError(response.status, parseJson(text).unwrapOr(text), response.headers)
}

/** What every client of an SDK is made with: our own retries and deadlines are the only ones. */
export const SDK_OPTIONS = {
  maxRetries: 0,
  timeout: 2 ** 31 - 1,
  logLevel: 'off',
  fetch: patientFetch,
} as const

/** The headers of RETRAI_PROVIDERS. Without a key, the SDK must not invent one beside them. */
export const headersOf = ({ apiKey, own }: Endpoint): Readonly<Record<string, string | null>> =>
  own === undefined ? {} : { ...(apiKey === null ? { authorization: null } : {}), ...own.headers }

/** Keeps the whole body of an error of an SDK, because endpoints put their message in different places. */
export function throwStatus(
  ...[status, error, message, headers]: [number, object, string | undefined, Headers]
): never {
  throw new HttpStatusError(status, error ?? message ?? {}, headers)
}

/** One client for each endpoint. */
export function clients<C>(create: (endpoint: Endpoint) => C): (endpoint: Endpoint) => C {
  const made = new Map<string, C>()
  return (endpoint) => {
    const place = JSON.stringify(endpoint)
    const client = made.get(place) ?? create(endpoint)
    made.set(place, client)
    return client
  }
}
