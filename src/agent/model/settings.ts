import * as z from 'zod'

/** An unset and an empty variable mean the same. */
const text = z
  .string()
  .trim()
  .transform((value) => (value === '' ? undefined : value))
  .optional()
const baseUrl = text.pipe(
  z
    .url({ protocol: /^https?$/, error: 'not an http(s) URL' })
    .refine((url) => URL.parse(url)?.username === '', 'put the key in its own variable')
    .optional(),
)

/** Where models are and the keys to them. The names beside are the environment variables they come from. */
export const ModelSettings = z
  .strictObject({
    /** RETRAI_LLM_BASE_URL: takes every model, whatever its name. */
    llmBaseUrl: baseUrl,
    /** RETRAI_LLM_API_KEY */
    llmApiKey: text,
    /** ANTHROPIC_API_KEY */
    anthropicApiKey: text,
    /** GEMINI_API_KEY */
    geminiApiKey: text,
    /** OPENAI_API_KEY */
    openaiApiKey: text,
    /** OPENAI_BASE_URL */
    openaiBaseUrl: baseUrl,
    /** OLLAMA_HOST, in the forms that Ollama takes: `host`, `host:port`, `:port` or a URL. */
    ollamaHost: text,
  })
  .readonly()
export type ModelSettings = z.infer<typeof ModelSettings>
