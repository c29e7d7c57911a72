"""What task payloads usually say: the preset dictionary of `storage/payloads.py`.

The names come from what vendors document and send (`tests/corpus`); the values are typical ones, and nobody's. What is most frequent is at the end,
where zlib needs the fewest bits to point at it.

Stored payloads can only be read with the dictionary that packed them. So this text never changes: a better one is added beside it.
"""

from __future__ import annotations

_TRUEAI = (
    '{"parentId":null,"botType":"MID_JOURNEY","realBotType":null,"userId":null,"isWhite":false,"nonce":"1710000000000000000",'
    '"interactionMetadataId":null,"messageId":null,"remixModalMessageId":null,"remixAutoSubmit":false,"remixModaling":false,'
    '"instanceId":"","subInstanceId":null,"messageIds":[],"action":"BLEND","status":"NOT_START","isCompleted":false,'
    '"prompt":null,"promptEn":null,"promptFull":null,"description":"/imagine ","language":null,"state":null,'
    '"submitTime":1760000000000,"startTime":1760000000000,"finishTime":null,"imageUrl":null,"baseImageUrl":null,'
    '"imageUrls":null,"thumbnailUrl":null,"progress":"0%","failReason":null,"hasAIReviewRetried":false,"isThirdParty":false,'
    '"isPartner":false,"isPartnerRelax":false,"partnerTaskId":null,"partnerTaskInfo":null,"isOfficial":false,'
    '"officialTaskId":null,"officialTaskInfo":null,"isDiscord":true,"buttons":[],"displays":{"status":"IN_PROGRESS",'
    '"submitTime":"2025-10-09 16:53:20","startTime":"2025-10-09 16:53:21","finishTime":null,"action":"DESCRIBE",'
    '"discordInstanceId":""},"seed":null,"seedError":null,"seedMessageId":null,"clientIp":null,"jobId":null,'
    '"isReplicate":false,"replicateSource":null,"replicateTarget":null,"mode":"FAST","requestMode":"RELAX",'
    '"accountFilter":null,"url":null,"proxyUrl":null,"height":null,"width":null,"size":null,"contentType":null,'
    '"imageHeight":null,"imageWidth":null,"videoGenOriginImageUrl":null,"videoDuration":null,"frameCount":null,'
    '"videoUrl":null,"videoUrls":null,"useTime":"-","version":null,"storageOption":null,"videoType":null,"isHdVideo":false,'
)

_ONE_IMAGE = (
    '[{"customId":"MJ::JOB::upsample_v7_2x_subtle::1::::SOLO","emoji":"","label":"Upscale (Subtle)","type":2,"style":2},'
    '{"customId":"MJ::JOB::upsample_v6r1_2x_creative::1::::SOLO","emoji":"","label":"Upscale (Creative)","type":2,"style":2},'
    '{"customId":"MJ::JOB::low_variation::1::::SOLO","emoji":"🪄","label":"Vary (Subtle)","type":2,"style":2},'
    '{"customId":"MJ::JOB::high_variation::1::::SOLO","emoji":"🪄","label":"Vary (Strong)","type":2,"style":2},'
    '{"customId":"MJ::Inpaint::1::::SOLO","emoji":"🖌️","label":"Vary (Region)","type":2,"style":2},'
    '{"customId":"MJ::Outpaint::50::1::::SOLO","emoji":"🔍","label":"Zoom Out 2x","type":2,"style":2},'
    '{"customId":"MJ::Outpaint::75::1::::SOLO","emoji":"🔍","label":"Zoom Out 1.5x","type":2,"style":2},'
    '{"customId":"MJ::CustomZoom::","emoji":"🔍","label":"Custom Zoom","type":2,"style":2},'
    '{"customId":"MJ::JOB::pan_left::1::::SOLO","emoji":"⬅️","label":"","type":2,"style":2},'
    '{"customId":"MJ::JOB::pan_right::1::::SOLO","emoji":"➡️","label":"","type":2,"style":2},'
    '{"customId":"MJ::JOB::pan_up::1::::SOLO","emoji":"⬆️","label":"","type":2,"style":2},'
    '{"customId":"MJ::JOB::pan_down::1::::SOLO","emoji":"⬇️","label":"","type":2,"style":2},'
    '{"customId":"MJ::JOB::animate_high::1::::SOLO","emoji":"🎞️","label":"Animate (High motion)","type":2,"style":2},'
    '{"customId":"MJ::JOB::animate_low::1::::SOLO","emoji":"🎞️","label":"Animate (Low motion)","type":2,"style":2},'
    '{"customId":"MJ::BOOKMARK::","emoji":"❤️","label":"","type":2,"style":2}]'
)

_PLUS = (
    '{"id":"1740000000000000","properties":{"notifyHook":"https://","discordInstanceId":"1","discordChannelId":"1",'
    '"botType":"MID_JOURNEY","nonce":"1","customId":"","flags":0,"messageId":"1","messageHash":"","finalPrompt":"",'
    '"progressMessageId":"1","messageContent":"** - <@1> (0%) (relaxed) (Waiting to start) (fast)"},"action":"UPSCALE",'
    '"action":"VARIATION","action":"IMAGINE","status":"FAILURE","status":"SUBMITTED","status":"SUCCESS","status":"IN_PROGRESS",'
    '"prompt":" --ar 16:9 --v 7.0 --s 250","promptEn":"","description":"/up 1740000000000000 U1","description":"/imagine ",'
    '"submitTime":17,"startTime":17,"finishTime":17,"progress":"100%","imageUrl":"https://cdn.discordapp.com/attachments/1'
    '.webp.png?ex=6&is=6&hm=&","imageUrl":null,"imageHeight":2048,"imageWidth":2048,"failReason":"","failReason":null,'
    '"state":"","state":null,"buttons":[{"customId":"MJ::JOB::upsample::1::","emoji":"","label":"U1","type":2,"style":2},'
    '{"customId":"MJ::JOB::upsample::4::","emoji":"","label":"U4","type":2,"style":2},{"customId":"MJ::JOB::reroll::0::::SOLO",'
    '"emoji":"🔄","label":"","type":2,"style":2},{"customId":"MJ::JOB::variation::1::","emoji":"","label":"V1","type":2,'
    '"style":2},{"customId":"MJ::JOB::variation::4::","emoji":"","label":"V4","type":2,"style":2}],"buttons":[]}'
)

_PLUS_WITH_SPACES = _PLUS.replace('":', '": ').replace(',"', ', "').replace("},{", "}, {")
"""As some relays write it."""

DICTIONARY = "".join((_ONE_IMAGE, _TRUEAI, _PLUS_WITH_SPACES, _PLUS)).encode()
