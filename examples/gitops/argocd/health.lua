-- Health of a Tenant or VoiceRegion for Argo CD, by the rules of kstatus.
local health = {status = "Progressing", message = "waiting for the operator to look at it"}
local status = obj.status
if status == nil or status.conditions == nil then
  return health
end
local found = {}
for _, condition in ipairs(status.conditions) do
  found[condition.type] = condition
end
if found.Stalled ~= nil and found.Stalled.status == "True" then
  return {status = "Degraded", message = found.Stalled.message}
end
if status.observedGeneration == nil or status.observedGeneration < obj.metadata.generation then
  health.message = "waiting for the operator to look at the newest spec"
  return health
end
local ready = found.Ready
if ready == nil then
  return health
end
health.message = ready.message
if ready.status == "True" then
  health.status = "Healthy"
  -- It is as it was asked to be: at rest, or running and serving nobody.
  if ready.reason == "Paused" or ready.reason == "Suspended" then
    health.status = "Suspended"
  end
end
return health
