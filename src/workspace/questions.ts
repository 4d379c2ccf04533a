/** The content that a file must have before it is changed: its SHA-256; null if there must be no file. */
export type Expected = string | null

/** What is to be at a path: as many bytes of the body, after those of the files before it; or nothing. */
export type WantedFile = {
  readonly path: string
  readonly bytes: number | null
  /** Left out: whatever is there. */
  readonly expected?: Expected
  /** The mode of a new file. A file that exists keeps its mode. */
  readonly mode?: number
}

/** The texts of the files of one folder that say what is left out of a search. */
export type RuleTexts = {
  readonly ignore?: string | null | undefined
  readonly gitignore?: string | null | undefined
  /** `.git/info/exclude`. */
  readonly exclude?: string | null | undefined
  /** Whether a repository begins in this folder: git's rules of the folders above do not hold in it. */
  readonly isRepository: boolean
}

/** The rules of a folder above the project. `path` leads from there to the project, with `/` at its end. */
export type RulesAbove = RuleTexts & { readonly path: string }

/** What a search for lines may need: an expression such as a{1,30000} needs gigabytes. */
export const GREP_MEMORY_MIB = 512

/** How lines are searched for, with `grep -E`, or as they are. */
export type Pattern = {
  readonly pattern: string
  readonly isText?: boolean
  readonly ignoreCase?: boolean
}

export type Grep = Pattern & {
  readonly output: 'lines' | 'files' | 'counts'
  /** Lines that are shown before and after each match. */
  readonly context: number
}

export type Search = {
  /** The folder that is searched, or, for lines, also a file. */
  readonly path: string
  /** Relative to that folder. */
  readonly glob: string
  /** Files to list at most. */
  readonly limit: number
  readonly hidden: boolean
  readonly ignored: boolean
  /** The rules of the folders above the project, the outermost first. */
  readonly above: readonly RulesAbove[]
  /** Lines are searched for in the files, which are not listed. */
  readonly grep?: Grep
}

/** What the program of a workspace is asked, by the name of the question. All paths are from the project. */
export type Questions = {
  /** `isToWrite`: it is refused if the file could not be written. */
  readonly read: {
    readonly path: string
    readonly from: number
    readonly bytes: number
    readonly isToWrite?: boolean
  }
  /** Where paths lead. `isToWrite`: those are refused that could not be written. */
  readonly resolve: { readonly paths: readonly string[]; readonly isToWrite?: boolean }
  /** Small text files. */
  readonly texts: { readonly paths: readonly string[]; readonly maxBytes: number }
  /** When files were last changed, also where links lead out of the project. */
  readonly changed: { readonly paths: readonly string[] }
  readonly list: { readonly path: string; readonly limit: number }
  readonly yaml: { readonly path: string; readonly maxBytes: number }
  readonly search: Search
  /** Searches the body. */
  readonly grep: Pattern
  readonly git: { readonly show: 'status' | 'diff' | 'log' }
  /** All of these files are changed, or none. */
  readonly change: { readonly files: readonly WantedFile[] }
  readonly rename: { readonly path: string; readonly to: string; readonly overwrite: boolean }
  readonly remove: { readonly path: string }
}
export type QuestionName = keyof Questions
