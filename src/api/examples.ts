import * as z from 'zod'
import {
  AccessFrame,
  Checkpoint,
  InclusionProof,
  LedgerProof,
  PublishedKeys,
  RunProof,
} from './audit.ts'
import { Me, NewTokenView, TicketView, TokenView } from './auth.ts'
import { Liveness, Readiness } from './health.ts'
import { RunDiff, SentConversation } from './history.ts'
import { IsolationOffer } from './isolation.ts'
import { Model } from './models.ts'
import { ProblemDocument } from './problems.ts'
import { RedactedRecord, Redaction } from './redactions.ts'
import {
  AnsweredApproval,
  Goal,
  RecordedMessage,
  ResumedRun,
  RunAndStatus,
  RunDetails,
  RunSummary,
  ServerApprovals,
  StartedRun,
} from './runs.ts'

const RUN_ID = '550e8400-e29b-41d4-a716-446655440000'
const HASH = '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08'
const KEY = '7f0b9b1e1c9a1f4d2f7a3a1c8f5e6d7b8a9c0d1e2f3a4b5c6d7e8f9a0b1c2d3e'
const SIGNED = {
  signed_at: '2026-02-18T12:05:00.000Z',
  key: KEY,
  signature: '0'.repeat(128),
} as const

const CHECKPOINT: Checkpoint = {
  type: 'retrai.checkpoint.v1',
  log_id: '1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed',
  number: 3,
  runs: 1,
  root: '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae',
  previous: 'fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9',
  ...SIGNED,
}

const TOKEN: TokenView = {
  id: '0b1f7e0a-4f5e-4a55-9d0b-6d1d7d3c9a10',
  name: 'ci',
  role: 'operator',
  status: 'active',
  created_at: '2026-02-18T12:00:00.000Z',
  created_by: 'local',
  expires_at: '2026-03-20T12:00:00.000Z',
  revoked_at: null,
  revoked_by: null,
  revoked_reason: null,
}

/**
 * Gives the schemas of the responses their examples, for the descriptions of the API. They are not in the schemas, so
 * that a browser does not load them with the client.
 */
export function addExamples(): void {
  add(ProblemDocument, {
    type: 'urn:retrai:problem:invalid_request',
    title: 'Invalid request',
    status: 422,
    detail: 'max_iterations must be at least 1.',
    instance: '/api/runs',
    errors: [{ field: 'max_iterations', message: 'max_iterations must be at least 1.' }],
  })
  add(Liveness, { status: 'ok' })
  add(Readiness, {
    ready: true,
    checks: { store: { ok: true }, projections: { ok: true }, integrity: { ok: true } },
  })
  addServerExamples()
  addRunExamples()
  addRedactionExamples()
  addHistoryExamples()
  addAuditExamples()
  add(TokenView, TOKEN, {
    ...TOKEN,
    status: 'revoked',
    revoked_at: '2026-02-19T09:30:00.000Z',
    revoked_by: 'ada',
    revoked_reason: 'It was in a build log',
  })
  add(NewTokenView, {
    ...TOKEN,
    secret: 'retrai_s0m3Th1ngOfFortyThreeCharactersThatNobodyKnows',
  })
  add(Me, { principal: 'ada', role: 'viewer', may: ['self:read', 'runs:read', 'runs:verify'] })
  add(TicketView, {
    ticket: 'b0mUN3dWb3hVd1o2cGJtQ2Z4bEhqa0xtTm9wcXJzdHV2',
    expires_at: '2026-02-18T12:00:30.000Z',
  })
}

function add<T extends z.ZodType>(schema: T, ...examples: z.output<T>[]): void {
  z.globalRegistry.add(schema, { ...schema.meta(), examples })
}

function addServerExamples(): void {
  add(Model, {
    name: 'anthropic/claude-sonnet-4-6',
    provider: 'anthropic',
    is_default: true,
    problem: null,
    key_variable: 'ANTHROPIC_API_KEY',
    key_set: true,
    context_window: 1_000_000,
    max_output_tokens: 64_000,
    prices: {
      input_usd_per_mtok: 3,
      output_usd_per_mtok: 15,
      cached_input_usd_per_mtok: 0.3,
      cache_write_usd_per_mtok: 3.75,
    },
    reasoning_efforts: ['none', 'low', 'medium', 'high'],
  })
  add(IsolationOffer, {
    level: 'namespaces',
    detail: 'Each command runs in a container of its own (bubblewrap).',
    levels: [
      {
        level: 'namespaces',
        problem: null,
        hosts_problem: null,
        full_problem: 'This server lets no run have the whole network.',
      },
    ],
    hosts: null,
    limits: {
      memory_bytes: 8_589_934_592,
      processes: 512,
      output_bytes: 536_870_912,
      home_bytes: 4_294_967_296,
    },
  })
  add(Goal, {
    ...{ name: 'perf-check', description: 'A command is fast enough', check: 'required' },
    options: [{ name: 'max_ms', required: true, schema: { type: 'number', maximum: 86_400_000 } }],
  })
  add(ServerApprovals, {
    rules: [{ command: 'git push *', action: 'deny', reason: 'People push' }],
  })
}

function addRunExamples(): void {
  add(RunSummary, {
    run_id: RUN_ID,
    goal: 'pytest',
    status: 'achieved',
    created_at: '2026-02-18T12:00:00.000Z',
    ...{ cwd: '/my/project', model_name: 'claude-sonnet-4-6', iteration: 3, max_iterations: 20 },
    ...{ total_tokens: 12450, estimated_cost_usd: 0.037, ended_at: '2026-02-18T12:04:00.000Z' },
  })
  add(RunAndStatus, { run_id: RUN_ID, status: 'aborted' })
  add(StartedRun, { run_id: RUN_ID, status: 'running' })
  add(RecordedMessage, { run_id: RUN_ID, status: 'running', seq: 14 })
  add(AnsweredApproval, { run_id: RUN_ID, status: 'running', decision: 'allow' })
  add(ResumedRun, { run_id: RUN_ID, status: 'running', resumed_with: 'approve' })
  add(RunDetails, {
    run_id: RUN_ID,
    goal: 'pytest',
    status: 'achieved',
    model_name: 'claude-sonnet-4-6',
    max_iterations: 20,
    max_turns_per_iteration: 50,
    hitl_enabled: false,
    cwd: '/my/project',
    error: null,
    final_state: {
      iteration: 3,
      goal_achieved: true,
      goal_reason: 'All 42 tests passed',
      total_tokens: 12450,
      estimated_cost_usd: 0.037,
    },
    created_at: '2026-02-18T12:00:00.000Z',
    ended_at: '2026-02-18T12:03:20.000Z',
    end_reason: 'All 42 tests passed',
    max_cost_usd: null,
    max_tokens: null,
    max_seconds: null,
    reasoning_effort: null,
    max_output_tokens: null,
    fallback_models: [],
    progress: {
      model_name: 'claude-sonnet-4-6',
      iteration: 3,
      total_tokens: 12450,
      estimated_cost_usd: 0.037,
      seq: 31,
      waiting_for: null,
    },
  })
}

function addRedactionExamples(): void {
  add(RedactedRecord, {
    run_id: RUN_ID,
    seq: 7,
    redaction: 0,
    pointers: ['/args/command'],
    artifact: null,
    summaries: [],
    erased: true,
    elsewhere: [{ seq: 5, pointer: '/tool_calls/0/args/command', redactable: true }],
  })
  add(Redaction, {
    redaction: 0,
    ts: 1771416193.25,
    principal: 'alice',
    reason: 'A password of a person',
    seq: 7,
    pointers: ['/args/command'],
    artifact: null,
  })
}

function addHistoryExamples(): void {
  add(RunDiff, {
    run_id: RUN_ID,
    from: 5,
    to: 16,
    changes: [
      { field: 'status', old: 'running', new: 'achieved' },
      { field: 'progress.seq', old: 5, new: 16 },
    ],
    records: { tool_call: 2, tool_result: 2, step_start: 1, goal_check: 1 },
    files: [
      { path: 'cart.py', changed: 'yes', calls: [{ seq: 6, tool: 'file_patch', outcome: 'ok' }] },
    ],
    commands: [{ seq: 8, tool: 'bash_exec', command: 'make format', outcome: 'ok', exit_code: 0 }],
  })
  add(SentConversation, {
    run_id: RUN_ID,
    model_name: 'claude-sonnet-4-6',
    request: 'answered',
    as_of: 2,
    answered_by: 4,
    messages: [
      { role: 'system', content: 'You work on a project until its goal is reached. …' },
      { role: 'user', content: 'Work towards the goal pytest in the project at /my/project.' },
    ],
    omitted_turns: 0,
    tools: [
      {
        name: 'git_status',
        description: 'Show which files have changed.',
        parameters: { type: 'object', properties: {} },
      },
    ],
  })
}

function addAuditExamples(): void {
  add(PublishedKeys, {
    keys: [
      {
        fingerprint: KEY,
        public_key:
          '-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n-----END PUBLIC KEY-----\n',
        created: '2026-02-18T12:00:00.000Z',
        retired: null,
      },
    ],
  })
  add(RunProof, {
    type: 'retrai.run-proof.v1',
    run_id: RUN_ID,
    length: 32,
    head: HASH,
    last_kind: 'run_end',
    ...SIGNED,
  })
  add(LedgerProof, {
    type: 'retrai.ledger-proof.v1',
    ledger: 'access',
    length: 214,
    head: HASH,
    ...SIGNED,
  })
  add(Checkpoint, CHECKPOINT)
  add(InclusionProof, {
    checkpoint: CHECKPOINT,
    leaf: { run_id: RUN_ID, length: 32, head: HASH },
    index: 0,
    path: [],
  })
  add(AccessFrame, {
    seq: 213,
    kind: 'run_exported',
    ts: 1771416193.25,
    payload: {
      run_id: RUN_ID,
      principal: 'alice',
      client: '10.0.0.7',
      operation: 'exportRun',
      asked: '',
      count: 1,
      first_ts: 1771416193.25,
      last_ts: 1771416193.25,
    },
  })
}
