import bash from 'highlight.js/lib/languages/bash'
import css from 'highlight.js/lib/languages/css'
import diff from 'highlight.js/lib/languages/diff'
import go from 'highlight.js/lib/languages/go'
import javascript from 'highlight.js/lib/languages/javascript'
import json from 'highlight.js/lib/languages/json'
import makefile from 'highlight.js/lib/languages/makefile'
import markdown from 'highlight.js/lib/languages/markdown'
import python from 'highlight.js/lib/languages/python'
import rust from 'highlight.js/lib/languages/rust'
import sql from 'highlight.js/lib/languages/sql'
import typescript from 'highlight.js/lib/languages/typescript'
import xml from 'highlight.js/lib/languages/xml'
import yaml from 'highlight.js/lib/languages/yaml'
import { createLowlight } from 'lowlight'
import { Fragment, type ReactNode } from 'react'
import { isQuicklyColoured, visible } from '../ui/foreign-text.ts'
import { colouredParts, type Part } from './ansi.ts'

const lowlight = createLowlight({
  bash,
  css,
  diff,
  go,
  javascript,
  json,
  makefile,
  markdown,
  python,
  rust,
  sql,
  typescript,
  xml,
  yaml,
})

type Tree = ReturnType<typeof lowlight.highlight>
type Node = Tree['children'][number]

/**
 * The text as coloured elements: never as HTML, so nothing in it can become part of the page.
 * @param language `ansi` for what a program printed, with the colours that it printed
 */
export function highlight(code: string, language: string | null): ReactNode {
  if (language === 'ansi') return colouredParts(code).map(coloured)
  const text = visible(code)
  if (language === null || !lowlight.registered(language)) return text
  if (!isQuicklyColoured(text, language)) return text
  return nodes(lowlight.highlight(language, text).children)
}

const coloured = ({ text, names }: Part, index: number): ReactNode =>
  names === '' ? (
    text
  ) : (
    <span key={index} className={names}>
      {text}
    </span>
  )

const nodes = (children: readonly Node[]): ReactNode[] =>
  // biome-ignore lint/suspicious/noArrayIndexKey: the parts of a text have no other name
  children.map((child, index) => <Fragment key={index}>{element(child)}</Fragment>)

function element(node: Node): ReactNode {
  if (node.type === 'text') return node.value
  if (node.type !== 'element') return null
  const { className } = node.properties
  const names = Array.isArray(className) ? className.join(' ') : ''
  return <span className={names}>{nodes(node.children)}</span>
}
