/**
 * The bodies of requests, as the vendors' own packages describe them. `npm run schemas` makes a JSON Schema of each type
 * for the tests; the properties below that no package has are those that the vendors document in addition.
 */
import type {
  Tool as ClaudeTool,
  MessageCreateParamsStreaming,
} from '@anthropic-ai/sdk/resources/messages'
import type { Content, GenerationConfig, Tool, ToolConfig } from '@google/genai'
import type { ChatRequest } from 'ollama'
import type {
  ChatCompletionAssistantMessageParam,
  ChatCompletionCreateParamsStreaming,
  ChatCompletionMessageFunctionToolCall,
  ChatCompletionMessageParam,
} from 'openai/resources/chat/completions'
import type { ResponseCreateParamsStreaming } from 'openai/resources/responses/responses'

/** `tools` may also be those that Anthropic runs itself. This server has none of them. */
export interface MessagesBody extends MessageCreateParamsStreaming {
  tools?: ClaudeTool[]
}

export type ResponsesBody = ResponseCreateParamsStreaming

/** DeepSeek, Kimi and many others; vLLM; OpenRouter; Google's compatible endpoint; Mistral. */
interface AssistantMessage
  extends Omit<ChatCompletionAssistantMessageParam, 'content' | 'tool_calls'> {
  content?: string | (TextPart | { type: 'thinking'; thinking: TextPart[] })[] | null
  tool_calls?: (ChatCompletionMessageFunctionToolCall & {
    extra_content?: { google: { thought_signature: string } }
  })[]
  reasoning_content?: string
  reasoning?: string
  reasoning_details?: { type: string; [name: string]: unknown }[]
}

/** OpenRouter and Alibaba take marks of what to cache. */
interface TextPart {
  type: 'text'
  text: string
  cache_control?: { type: 'ephemeral' }
}

type OtherMessage = Exclude<ChatCompletionMessageParam, ChatCompletionAssistantMessageParam>

export interface ChatBody extends Omit<ChatCompletionCreateParamsStreaming, 'messages'> {
  messages: (
    | AssistantMessage
    | OtherMessage
    | { role: 'system' | 'user'; content: TextPart[] }
    | { role: 'tool'; tool_call_id: string; content: TextPart[] }
  )[]
  /** OpenRouter. */
  reasoning?: { effort: 'none' | 'minimal' | 'low' | 'medium' | 'high' | 'xhigh' | 'max' }
}

/** The package has these parts, but puts them together in another way than they are sent. */
export interface GeminiBody {
  contents: Content[]
  systemInstruction?: Content
  tools?: Tool[]
  toolConfig?: ToolConfig
  generationConfig?: GenerationConfig
}

/** Ollama's server ignores what it does not know of a tool's schema; the package names only some of that. */
export interface OllamaBody extends Omit<ChatRequest, 'tools'> {
  tools?: {
    type: 'function'
    function: { name: string; description: string; parameters: { [name: string]: unknown } }
  }[]
}
