/**
 * Names of the GenAI semantic conventions of OpenTelemetry, as two of its versions have them. Null: that version has no name
 * for it.
 */
const VERSIONS = {
  '1.36.0': {
    provider: 'gen_ai.system',
    cachedTokens: null,
    cacheWriteTokens: null,
    xai: 'xai',
  },
  '1.41.0': {
    provider: 'gen_ai.provider.name',
    cachedTokens: 'gen_ai.usage.cache_read.input_tokens',
    cacheWriteTokens: 'gen_ai.usage.cache_creation.input_tokens',
    xai: 'x_ai',
  },
} as const

/** Names that both versions share. `retrai.*` are of no convention. */
const SHARED = {
  operation: 'gen_ai.operation.name',
  conversation: 'gen_ai.conversation.id',
  model: 'gen_ai.request.model',
  inputTokens: 'gen_ai.usage.input_tokens',
  outputTokens: 'gen_ai.usage.output_tokens',
  tool: 'gen_ai.tool.name',
  callId: 'gen_ai.tool.call.id',
  error: 'error.type',
  purpose: 'retrai.purpose',
  status: 'retrai.status',
} as const

/** Providers that the conventions name in another way. */
const PROVIDERS: Readonly<Record<string, string>> = {
  gemini: 'gcp.gemini',
  mistral: 'mistral_ai',
}

type Meaning = keyof typeof SHARED | 'provider' | 'cachedTokens' | 'cacheWriteTokens'
/** Attributes by what they mean. Those that are missing or null are left out. */
export type Meant = { readonly [M in Meaning]?: string | number | null | undefined }

export type Conventions = {
  readonly schemaUrl: string
  named(meant: Meant): Record<string, string | number>
}

/** @param optIn `OTEL_SEMCONV_STABILITY_OPT_IN`: a list of values; those for other conventions mean nothing here */
export function conventionsFor(optIn = ''): Conventions {
  const isLatest = optIn.split(',').some((value) => value.trim() === 'gen_ai_latest_experimental')
  const version = isLatest ? '1.41.0' : '1.36.0'
  const { xai, ...own } = VERSIONS[version]
  const names: Readonly<Record<Meaning, string | null>> = { ...SHARED, ...own }
  const providers: typeof PROVIDERS = { ...PROVIDERS, xai }
  return {
    schemaUrl: `https://opentelemetry.io/schemas/${version}`,
    named: ({ provider, ...meant }) => {
      const all: Meant = { ...meant, provider: providers[String(provider)] ?? provider }
      const attributes: Record<string, string | number> = {}
      for (const [meaning, value] of Object.entries(all) as [Meaning, Meant[Meaning]][]) {
        const name = names[meaning]
        if (name !== null && value != null) attributes[name] = value
      }
      return attributes
    },
  }
}
