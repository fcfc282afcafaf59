// Jsonnet 0.18, which Debian 12 has, fails on line breaks and backslashes in the values of YAML. So each block (`key: |`) is read as one
// line with marks in their places, and gets them back afterwards.
local mark = '␊';
local backslash = '⧹';

local indent(line, from=0) = if from < std.length(line) && line[from] == ' ' then indent(line, from + 1) tailstrict else from;
local escape(text) = std.strReplace(std.strReplace(text, '\\', backslash), '"', '\\"');
local repeat(text, times) = std.join('', std.makeArray(times, function(_) text));

// Writes each block as a text in quotes. A state is [text until now, indentation of the key of the open block, of its content, empty lines];
// arrays and locals are evaluated once, fields of objects each time.
local withoutBlocks(text) =
  local close(state) = if state[2] == null then '' else mark + '"\n';
  local step(state, line) =
    local out = state[0], outer = state[1], margin = state[2], blank = state[3];
    local own = indent(line);
    local next =
      if outer != null && own == std.length(line) then
        [out, outer, margin, blank + 1]
      else if outer != null && own > outer then
        local inner = if margin == null then own else margin;
        local breaks = if margin == null then '' else repeat(mark, 1 + blank);
        [out + breaks + escape(std.substr(line, inner, std.length(line))), outer, inner, 0]
      else if std.endsWith(line, ': |') && line[own] != '#' then
        [out + close(state) + std.substr(line, 0, std.length(line) - 1) + '"', own + if line[own] == '-' then 2 else 0, null, 0]
      else
        [out + close(state) + line + '\n', null, null, 0];
    // Evaluates the step now; many that wait would exceed the stack.
    if std.length(std.toString(next[1:])) > 0 && std.length(next[0]) >= 0 then next else error 'never';
  local end = std.foldl(step, std.split(text, '\n'), ['', null, null, 0]);
  end[0] + close(end);

local withBreaks(value) =
  if std.isString(value) then std.strReplace(std.strReplace(value, mark, '\n'), backslash, '\\')
  else if std.isArray(value) then std.map(withBreaks, value)
  else if std.isObject(value) then std.mapWithKey(function(_, item) withBreaks(item), value)
  else value;

{
  parse(text):: withBreaks(std.parseYaml(withoutBlocks(text))),
}
