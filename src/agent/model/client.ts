import OpenAI from 'openai'
import type { Endpoint } from './routing.ts'

/** Longer than any deadline of ours, so that only one clock decides: `withDeadline`. */
const NEVER_MS = 2 ** 31 - 1

/** Keeps the whole body of an error: endpoints differ in where they put what they have to say. */
class EndpointClient extends OpenAI {
  protected override makeStatusError(
    status: number,
    error: object,
    message: string | undefined,
    headers: Headers,
  ) {
    return super.makeStatusError(status, { error: error ?? message ?? {} }, undefined, headers)
  }
}

/** A client of one endpoint. What the SDK would take from OPENAI_* variables is settled here instead. */
export function createClient({ baseUrl, apiKey }: Endpoint): OpenAI {
  return new EndpointClient({
    baseURL: baseUrl,
    // The SDK wants some key; local endpoints read none.
    apiKey: apiKey ?? 'none',
    adminAPIKey: null,
    organization: null,
    project: null,
    webhookSecret: null,
    maxRetries: 0,
    timeout: NEVER_MS,
    logLevel: 'off',
  })
}
