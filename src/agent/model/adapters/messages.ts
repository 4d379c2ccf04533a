import Anthropic from '@anthropic-ai/sdk'
import type { MessageCreateParamsStreaming, Tool } from '@anthropic-ai/sdk/resources/messages'
import { type Adapter, HttpStatusError } from '../adapter.ts'
import { patientFetch } from '../patient-fetch.ts'
import type { Endpoint } from '../routing.ts'
import { messagesReader } from './messages-reader.ts'
import { toMessagesBody } from './messages-request.ts'
import { type OptionalParam, withOptional } from './optional-params.ts'

/** Longer than any deadline of this server, so that only our own decide. */
const NEVER_MS = 2 ** 31 - 1

/** Keeps the whole body of an error, and makes errors of all providers alike. */
class EndpointClient extends Anthropic {
  protected override makeStatusError(
    status: number,
    error: object,
    message: string | undefined,
    headers: Headers,
  ): never {
    throw new HttpStatusError(status, error ?? message ?? {}, headers)
  }
}

function createClient({ baseUrl, apiKey }: Endpoint): Anthropic {
  const key = apiKey ?? 'none'
  const isAnthropic = URL.parse(baseUrl)?.hostname.endsWith('anthropic.com') === true
  return new EndpointClient({
    // The SDK adds the version itself.
    baseURL: baseUrl.replace(/\/v1\/?$/, ''),
    apiKey: key,
    webhookKey: null,
    maxRetries: 0,
    timeout: NEVER_MS,
    logLevel: 'off',
    fetch: patientFetch,
    // Other vendors that speak this API know only the header and the version of its first years.
    ...(isAnthropic
      ? {}
      : { defaultHeaders: { 'x-api-key': key, 'anthropic-version': '2023-06-01' } }),
  })
}

/** Older models know no strict tools, and some schemas are too complex to be enforced. */
const STRICT: OptionalParam = {
  name: 'strict',
  refusal: /tools\.\d+\.(custom\.)?strict|strict tools?|too complex for compilation/i,
  without: ({ tools = [], ...body }: { tools?: readonly Tool[] }) => ({
    ...body,
    ...(tools.length === 0 ? {} : { tools: tools.map(({ strict: _, ...tool }) => tool) }),
  }),
}

/** Anthropic's Messages API. */
export function messagesAdapter(): Adapter {
  const clients = new Map<string, Anthropic>()
  const clientOf = (endpoint: Endpoint) => {
    const client = clients.get(endpoint.baseUrl) ?? createClient(endpoint)
    clients.set(endpoint.baseUrl, client)
    return client
  }
  return {
    framing: 'events',
    body: toMessagesBody,
    send: withOptional([STRICT], (body, { endpoint }, signal) =>
      clientOf(endpoint)
        .messages.create(body as MessageCreateParamsStreaming, { signal })
        .asResponse(),
    ),
    reader: () => messagesReader(),
  }
}
