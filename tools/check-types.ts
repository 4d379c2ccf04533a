import { dirname } from 'node:path'
import { argv, exit, stdout } from 'node:process'
import ts from 'typescript'

function formatHost(): ts.FormatDiagnosticsHost {
  return {
    getCanonicalFileName: (name) => name,
    getCurrentDirectory: () => ts.sys.getCurrentDirectory(),
    getNewLine: () => '\n',
  }
}

function programOf(config: string): ts.Program {
  const { config: json, error } = ts.readConfigFile(config, ts.sys.readFile)
  if (error !== undefined) throw new Error(ts.formatDiagnostic(error, formatHost()))
  const { fileNames, options, errors } = ts.parseJsonConfigFileContent(
    json,
    ts.sys,
    dirname(config),
  )
  return ts.createProgram({ rootNames: fileNames, options, configFileParsingDiagnostics: errors })
}

/** One diagnostic for each Result that nobody reads, in all source files of a program. */
export function unreadResults(program: ts.Program): ts.Diagnostic[] {
  const checker = program.getTypeChecker()
  const found: ts.Diagnostic[] = []
  /** Whether a type is a Result, or a union, a promise or an array of one. Types can be recursive. */
  const known = new Map<ts.Type, boolean>()

  function holdsResult(type: ts.Type): boolean {
    const answer = known.get(type)
    if (answer !== undefined) return answer
    known.set(type, false)
    const holds = isResult(type) || partsOf(type).some(holdsResult)
    known.set(type, holds)
    return holds
  }

  function partsOf(type: ts.Type): readonly ts.Type[] {
    if (type.isUnion()) return type.types
    const wraps = checker.isArrayType(type) || checker.isTupleType(type) || isPromise(type)
    return wraps ? checker.getTypeArguments(type as ts.TypeReference) : []
  }

  function isUnreadStatement(node: ts.Node): boolean {
    if (!ts.isExpressionStatement(node)) return false
    let value = node.expression
    while (ts.isVoidExpression(value) || ts.isParenthesizedExpression(value))
      value = value.expression
    if (ts.isBinaryExpression(value) && isAssignment(value.operatorToken.kind)) return false
    return holdsResult(checker.getTypeAtLocation(value))
  }

  /** A function that is passed where a function without a value is expected. */
  function isUnreadFunction(node: ts.Node): boolean {
    if (!ts.isExpression(node)) return false
    if (!ts.isFunctionLike(node) && !ts.isCallOrNewExpression(node.parent)) return false
    const expected = checker.getContextualType(node)?.getNonNullableType().getCallSignatures() ?? []
    if (!expected.some((one) => (one.getReturnType().flags & ts.TypeFlags.Void) !== 0)) return false
    const signatures = checker.getTypeAtLocation(node).getCallSignatures()
    return signatures.some((one) => holdsResult(one.getReturnType()))
  }

  function visit(node: ts.Node): void {
    if (isUnreadStatement(node) || isUnreadFunction(node))
      found.push({
        category: ts.DiagnosticCategory.Error,
        code: 1,
        file: node.getSourceFile(),
        start: node.getStart(),
        length: node.getWidth(),
        messageText: 'Nobody reads this Result, so an error in it is lost.',
      })
    ts.forEachChild(node, visit)
  }

  for (const file of program.getSourceFiles())
    if (!file.isDeclarationFile && !program.isSourceFileFromExternalLibrary(file)) visit(file)
  return found
}

const isAssignment = (kind: ts.SyntaxKind): boolean =>
  kind >= ts.SyntaxKind.FirstAssignment && kind <= ts.SyntaxKind.LastAssignment

const isPromise = ({ symbol }: ts.Type): boolean => /^Promise(Like)?$/.test(symbol?.name ?? '')

function isResult({ symbol }: ts.Type): boolean {
  const file = symbol?.declarations?.[0]?.getSourceFile().fileName ?? ''
  return file.includes('/neverthrow/') && /^(Ok|Err|ResultAsync)$/.test(symbol.name)
}

/**
 * Checks the types of projects as tsc does, and in the same pass finds each neverthrow Result that nobody reads: a
 * statement whose value is a Result, and a function that returns one to a caller that expects no value. Awaiting a Result does not read it.
 * Biome's noFloatingPromises finds neither. `node tools/check-types.ts . web`
 */
if (import.meta.main) {
  const problems = argv.slice(2).flatMap((project) => {
    const program = programOf(`${project}/tsconfig.json`)
    return [...ts.getPreEmitDiagnostics(program), ...unreadResults(program)]
  })
  stdout.write(ts.formatDiagnosticsWithColorAndContext(problems, formatHost()))
  exit(problems.length === 0 ? 0 : 1)
}
