import { HttpStatusError } from '../adapter.ts'
import { patientFetch } from '../patient-fetch.ts'
import { parseJson } from '../reply-parts.ts'

/**
 * Sends a body to an endpoint that has no SDK here.
 * @throws HttpStatusError if the status of the response is no success
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
