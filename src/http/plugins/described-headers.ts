/** A part of the description of the API, as far as headers are concerned. */
export type Operation = {
  readonly operationId?: string
  parameters?: unknown[]
  readonly responses?: Readonly<Record<string, Response>>
}
type Response = { readonly content?: Readonly<Record<string, unknown>>; headers?: object }

const ANSWERS = {
  ETag: 'The revision of what is answered: send it back in If-None-Match',
  Link: 'The address of the next page, `<…>; rel="next"`; left out on the last',
  Location: 'The address of the run',
  'Retry-After': 'Seconds to wait before the request is sent again',
} as const
type Answered = keyof typeof ANSWERS

const ASKED = {
  'Idempotency-Key': 'A name for this request, by which it can be sent again without a second run',
  'If-None-Match': 'An ETag that you have: the answer is 304 if it is still the same',
} as const

/** What does not follow from the statuses of an operation. */
const OF_OPERATION: Readonly<Record<string, Answered>> = {
  createRun: 'Location',
  configureRun: 'ETag',
  listRuns: 'Link',
  runEvents: 'Link',
  allEvents: 'Link',
  listAccesses: 'Link',
}

/** Adds the headers that a client of the operation works with to its description. */
export function describeHeaders(operation: Operation): void {
  const { operationId = '', responses = {} } = operation
  const conditional = '304' in responses
  if (operationId === 'createRun') ask(operation, 'Idempotency-Key')
  if (conditional) ask(operation, 'If-None-Match')
  for (const [status, response] of Object.entries(responses)) {
    const own = status === '200' || status === '201' ? OF_OPERATION[operationId] : undefined
    if (own !== undefined) answer(response, own)
    if (conditional && (status === '200' || status === '304')) answer(response, 'ETag')
    const problem = response.content?.['application/problem+json'] !== undefined
    if (problem && (status === '429' || status === '503')) answer(response, 'Retry-After')
  }
}

function ask(operation: Operation, name: keyof typeof ASKED): void {
  const parameter = { in: 'header', name, required: false, description: ASKED[name] }
  const before = operation.parameters ?? []
  operation.parameters = [...before, { ...parameter, schema: { type: 'string' } }]
}

function answer(response: Response, name: Answered): void {
  const schema = { type: name === 'Retry-After' ? 'integer' : 'string' }
  response.headers = { ...response.headers, [name]: { description: ANSWERS[name], schema } }
}
