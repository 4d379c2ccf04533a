type Named = { readonly sha256: string }
/** The parts of records that name artifacts. */
type Naming =
  | {
      readonly kind: 'run_created'
      readonly payload: { readonly config: { readonly accept?: Named } }
    }
  | { readonly kind: 'tool_result'; readonly payload: { readonly sha256: string | null } }
  | { readonly kind: 'goal_check'; readonly payload: { readonly named_tests?: string } }
  | {
      readonly kind: 'snapshot'
      readonly payload: {
        readonly packs: readonly Named[]
        readonly left_out: readonly unknown[] | Named
        readonly protected?: Named
      }
    }
  | {
      readonly kind: 'left_out_hashed'
      readonly payload: { readonly entries: readonly unknown[] | Named }
    }
type Other = { readonly kind: string; readonly payload: object }

/** The kinds of records that name artifacts. */
export const NAMING_KINDS: ReadonlySet<string> = new Set<Naming['kind']>([
  ...(['run_created', 'tool_result', 'goal_check', 'snapshot', 'left_out_hashed'] as const),
])

const isNaming = (record: Naming | Other): record is Naming => NAMING_KINDS.has(record.kind)

/** Artifacts by SHA-256. */
type Artifacts = {
  /** Packs of objects. */
  readonly packs: readonly string[]
  /** Whole outputs, and lists. */
  readonly others: readonly string[]
  /** The check that the agent of the run does not see; null if the record names none. */
  readonly hidden: string | null
}

const NONE: Artifacts = { packs: [], others: [], hidden: null }

/** The artifacts that a record names. */
export function artifactsOf(record: Naming | Other): Artifacts {
  if (!isNaming(record)) return NONE
  switch (record.kind) {
    case 'run_created':
      return { ...NONE, hidden: record.payload.config.accept?.sha256 ?? null }
    case 'tool_result':
      return { ...NONE, others: [record.payload.sha256].filter((name) => name !== null) }
    case 'goal_check':
      return { ...NONE, others: [record.payload.named_tests].filter((name) => name !== undefined) }
    case 'snapshot': {
      const { packs, left_out, protected: files } = record.payload
      const lists = [...listIn(left_out), ...(files === undefined ? [] : [files.sha256])]
      return { ...NONE, packs: packs.map(({ sha256 }) => sha256), others: lists }
    }
    case 'left_out_hashed':
      return { ...NONE, others: listIn(record.payload.entries) }
  }
}

const listIn = (list: readonly unknown[] | Named): string[] =>
  'sha256' in list ? [list.sha256] : []

/** The same, all in one list. */
export function allArtifactsOf(record: Naming | Other): readonly string[] {
  const { packs, others, hidden } = artifactsOf(record)
  return [...packs, ...others, ...(hidden === null ? [] : [hidden])]
}
