type Named = { readonly sha256: string }
type List = readonly unknown[] | Named
type Snapshot = {
  readonly packs: readonly Named[]
  readonly left_out: List
  readonly protected?: Named
}

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

const listIn = (list: List | undefined): string[] =>
  list !== undefined && 'sha256' in list ? [list.sha256] : []

/** The artifacts in payloads, by the kinds of the records that name some. */
const NAMING: Readonly<Record<string, (payload: never) => Partial<Artifacts>>> = {
  run_created: ({ config }: { readonly config: { readonly accept?: Named } }) => {
    return { hidden: config.accept?.sha256 ?? null }
  },
  tool_result: ({ sha256 }: { readonly sha256: string | null }) => {
    return { others: sha256 === null ? [] : [sha256] }
  },
  goal_check: ({ named_tests }: { readonly named_tests?: string }) => {
    return { others: named_tests === undefined ? [] : [named_tests] }
  },
  snapshot: ({ packs, left_out, protected: files }: Snapshot) => {
    return { packs: packs.map(({ sha256 }) => sha256), others: [left_out, files].flatMap(listIn) }
  },
  left_out_hashed: ({ entries }: { readonly entries: List }) => ({ others: listIn(entries) }),
}

/** The kinds of records that name artifacts. */
export const NAMING_KINDS: ReadonlySet<string> = new Set(Object.keys(NAMING))

type Naming = { readonly kind: string; readonly payload: object }

/** The artifacts that a record names. */
export function artifactsOf({ kind, payload }: Naming): Artifacts {
  return NAMING_KINDS.has(kind) ? { ...NONE, ...NAMING[kind]?.(payload as never) } : NONE
}

/** The same, all in one list. */
export function allArtifactsOf(record: Naming): readonly string[] {
  const { packs, others, hidden } = artifactsOf(record)
  return [...packs, ...others, ...(hidden === null ? [] : [hidden])]
}
